# frozen_string_literal: true

# Greylists, refuses one recipient, rewrites another, scans the body and marks the mail.
require "gatepost"
include Gatepost::Verdicts

SECONDS = Float(ENV.fetch("GATEPOST_GREYLIST_SECONDS", "300"))
LARGEST = 100_000 # triplets; the oldest is forgotten then
PHRASE = "forbidden phrase"
FIRST_SEEN = {}
LOCK = Mutex.new

# Whether this triplet was seen SECONDS ago or before.
def known?(triplet)
  now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  LOCK.synchronize do
    seen = FIRST_SEEN[triplet]
    next now - seen >= SECONDS if seen

    FIRST_SEEN.shift if FIRST_SEEN.size >= LARGEST
    FIRST_SEEN[triplet] = now
    false
  end
end

POLICY = Gatepost::Worker.new("policy", pool: ENV.fetch("GATEPOST_POOL", "policy"))

POLICY.rcpt :recipient do |event|
  address = event.recipient.address.downcase
  next deny("eve has left", code: 550, status: "5.1.6") if address == "eve@example.com"
  next event.replace_recipient(event.recipient, "new@example.com") if address == "old@example.com"

  triplet = [event.session.client_ip, event.sender.address.downcase, address]
  denysoft("Greylisted, come back later", code: 450, status: "4.7.1") unless known?(triplet)
end

POLICY.data_post :body, needs: %i[headers message] do |event|
  event.open_body do |body|
    tail = ""
    while (piece = body.read(65_536))
      text = tail + piece
      return deny("The body holds a forbidden phrase", code: 554, status: "5.7.1") if text.include?(PHRASE)

      tail = text[-PHRASE.size..] || text
    end
  end
  event.add_header("X-Policy", "ruby")
end

POLICY.run if $PROGRAM_NAME == __FILE__
