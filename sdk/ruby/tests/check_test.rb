# frozen_string_literal: true

require_relative "helper"

# The rules of verdicts, by every transcript that has an answer (protocol/verdicts.md).
class CheckTest < Minitest::Test
  # What only a frontend can know.
  FRONTENDS = %w[file_refused].freeze

  def answers(path)
    events = {}
    _, steps = transcript(path)
    steps.each_with_index do |step, index|
      line = step["line"]
      events[line["id"]] = line if step["from"] == "frontend" && line && line["type"] == "event"
      next unless step["from"] == "worker"

      line ||= begin
        Gatepost::Wire.parse_line(octets_of(step))
      rescue Gatepost::ProtocolError
        next
      end
      next unless line["type"] == "verdict" && events[line["id"]]

      yield events[line["id"]], line, step["violation"], "#{File.basename(path)}:#{index + 2}"
    end
  end

  def test_every_answer_of_the_transcripts
    checked = 0
    Dir.glob("#{GOLDEN}/{invalid,verdict}-*.ndjson").sort.each do |path|
      answers(path) do |event, verdict, wanted, place|
        next if FRONTENDS.include?(wanted)

        found = Gatepost.check(event, verdict)
        wanted.nil? ? assert_nil(found, place) : assert_equal(wanted, found&.id, "#{place}: #{found&.message}")
        checked += 1
      end
    end
    assert_operator checked, :>, 250
  end

  def test_the_message_names_place_value_and_rule
    event = { "hook" => "data_post", "args" => {}, "transaction" => { "headers" => [] } }
    action = { "op" => "header.add", "name" => "X", "value" => "a\nb" }
    found = Gatepost.check(event, { "verdict" => "declined", "actions" => [action] })
    assert_equal ["header_value", 'actions[0].value: "a\nb": a bare LF'], found.to_a
  end

  def test_every_violation_has_a_name_of_the_protocol
    source = File.read("#{SDK}/lib/gatepost/check.rb")
    used = source.scan(/broken\("(\w+)"/).flatten.uniq
    assert_operator used.size, :>, 20
    assert_empty used - Gatepost::Constants::VIOLATIONS
  end

  def test_the_constants_are_what_generate_makes_of_the_tables
    assert_equal File.read("#{SDK}/lib/gatepost/constants.rb"), IO.popen([RbConfig.ruby, "#{SDK}/generate", "--print"], &:read)
  end
end
