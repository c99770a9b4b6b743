# frozen_string_literal: true

# Policy workers for the Gatepost SMTP server: see README.md.
module Gatepost
  VERSION = "0.1.0"
end
