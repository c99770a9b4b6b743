# frozen_string_literal: true

require_relative "helper"

# Every transcript of the worker's side, in three splittings (protocol/golden/README.md).
class ReplayTest < Minitest::Test
  FREE = %w[plugin trace message].freeze

  def same?(wanted, got)
    case wanted
    when Hash then got.is_a?(Hash) && wanted.keys.sort == got.keys.sort && wanted.all? { |key, value| same?(value, got[key]) }
    when Array then got.is_a?(Array) && wanted.size == got.size && wanted.zip(got).all? { |one, other| same?(one, other) }
    else wanted.eql?(got)
    end
  end

  def same_hooks?(wanted, got)
    sort = ->(hooks) { hooks.transform_values { |said| said.key?("needs") ? said.merge("needs" => said["needs"].sort) : said } }
    same?(sort.call(wanted), sort.call(got))
  end

  def matches?(wanted, got, cancelled)
    return %w[verdict error].include?(got["type"]) if wanted["id"] && cancelled.include?(wanted["id"])

    hello = wanted["type"] == "hello"
    shown = wanted.all? do |name, value|
      next true if name == "message"
      next same_hooks?(value, got[name]) if hello && name == "hooks"
      next value.all? { |key, item| same?(item, got[name][key]) } if hello && name == "worker"

      same?(value, got[name])
    end
    shown && (hello || got.all? { |name, value| wanted.key?(name) || FREE.include?(name) || value == [] || value == {} })
  end

  def worker_of(plugins)
    worker = Gatepost::Worker.new("demo", concurrency: 4)
    plugins.each do |hook, script|
      options = script.slice("needs", "observe", "idempotent", "extensions").transform_keys(&:to_sym)
      worker.hook(hook, **options) do |event|
        raise script["raise"] if script["raise"]

        event.progress(script["progress"]) if script["progress"]
        next unless script["verdict"]

        reply = (script["reply"] || {}).transform_keys(&:to_sym)
        Gatepost::Verdict.new(script["verdict"], **reply, notes: script["notes"] || {}, actions: script["actions"] || [])
      end
    end
    worker
  end

  def replay(path, splitting)
    first, steps = transcript(path)
    plugins = first["plugins"] || {}
    worker = worker_of(plugins)
    connection = Gatepost::Connection.new(worker.hello.merge(first["hello"] || {}))
    written = connection.take
    wanted = []
    held = []
    cancelled = []
    pending = "".b
    answer = lambda do |event|
      event.sender_of_progress = ->(message) { connection.progress(message) }
      verdict = worker.ask(event)
      connection.answer(event, verdict) if event.id
    rescue StandardError => error
      connection.fail(event, "exception", true, error.message) if event.id
    end
    feed = lambda do |octets|
      held.concat(connection.receive(octets))
      held.reject! do |event|
        next false if plugins.dig(event.hook, "until") == "cancel" && !event.cancelled? && !connection.closed?

        answer.call(event)
        true
      end
      written << connection.take
    end
    steps.each_with_index do |step, index|
      case step["from"]
      when "worker" then wanted << step["line"] if step["line"]
      when "frontend"
        octets = octets_of(step)
        cancelled << step["line"]["id"] if step["line"] && step["line"]["type"] == "cancel"
        case splitting
        when :lines then feed.call(octets)
        when :octets
          size = octets.bytesize > 20_000 ? 997 : 1
          (0...octets.bytesize).step(size) { |start| feed.call(octets.byteslice(start, size)) }
        else pending << octets
        end
      else
        feed.call(pending) unless pending.empty?
        pending = "".b
        connection.drain if step["stop"] == "worker"
        connection.leave("timeout") if step["elapsed_ms"].to_i > 5000 && !connection.welcome
        written << connection.take
        assert connection.closed?, "line #{index + 2}: not closed" if step["close"] == "worker"
      end
    end
    feed.call(pending) unless pending.empty?
    got = written.lines.map { |line| Gatepost::Wire.parse_line(line) }.group_by { |message| message["id"] }
    wanted.each do |line|
      said = (got[line["id"]] || []).shift
      assert said && matches?(line, said, cancelled), "wanted #{line}\ngot #{said.inspect}"
    end
    assert_empty got.values.flatten
  end

  replayed = 0
  Dir.glob("#{GOLDEN}/*.ndjson").sort.each do |path|
    next if Gatepost::Wire.parse_line(File.open(path, "rb", &:readline))["side"] == "frontend"

    %i[lines octets whole].each do |splitting|
      replayed += 1
      define_method("test_#{File.basename(path, '.ndjson').tr('-', '_')}_#{splitting}") { replay(path, splitting) }
    end
  end

  define_method(:test_the_transcripts_were_read) { assert_operator replayed, :>, 200 }
end
