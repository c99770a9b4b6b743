# frozen_string_literal: true

# Refuses a recipient who has left, counts recipients, marks the mail: a whole policy worker.
require "gatepost"
include Gatepost::Verdicts

EXAMPLE = Gatepost::Worker.new("example", pool: ENV.fetch("GATEPOST_POOL", "ruby"))

EXAMPLE.rcpt :has_left do |event|
  next deny("#{event.recipient} has left", code: 550, status: "5.1.6") if event.recipient.address.casecmp?("eve@example.com")

  event.session_notes["asked"] = event.session_notes.fetch("asked", 0) + 1
end

EXAMPLE.data_post_headers(:mark) { |event| event.add_header("X-Seen-By", "example") }

EXAMPLE.run if $PROGRAM_NAME == __FILE__
