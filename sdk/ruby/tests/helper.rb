# frozen_string_literal: true

$LOAD_PATH.unshift(File.expand_path("../lib", __dir__))
require "minitest/autorun"
require "gatepost"
require "gatepost/testing"

GOLDEN = File.expand_path("../../../protocol/golden", __dir__)
SDK = File.expand_path("..", __dir__)

# The first line of a transcript, and the others.
def transcript(path)
  first, *steps = File.binread(path).lines.map { |line| Gatepost::Wire.parse_line(line) }
  [first, steps]
end

# The octets of a step that says something.
def octets_of(step)
  return Gatepost::Wire.encode_line(step["line"]).b if step["line"]

  head, tail = %w[raw tail].map { |name| step.key?(name) ? Gatepost::Wire.to_octets(step[name]) : "".b }
  head += step["fill"].b * (step["total"] - head.bytesize - tail.bytesize) if step["fill"]
  head + tail
end
