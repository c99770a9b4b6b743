# frozen_string_literal: true

require_relative "check"
require_relative "event"
require_relative "wire"

module Gatepost
  # The worker's half of the protocol without its socket: octets in; events to run, and octets to write, out. There is
  # exactly one answer for each event. For one thread: the Worker sees to that.
  class Connection
    LIMITS = Constants::LIMITS
    # What a worker may get after its welcome.
    EXPECTED = %w[event notify cancel violation ping pong drain bye].freeze
    private_constant :LIMITS, :EXPECTED

    # `welcome` and `rejected`: the frontend's message, nil before. `close_reason`: why the connection is over, for the
    # log.
    attr_reader :welcome, :rejected, :close_reason

    # `hello` is the message without its type. The block is called with a text for the log: a verdict that is not sent,
    # or that the frontend did not take.
    def initialize(hello, &on_invalid)
      @hooks = hello["hooks"]
      @pool = hello["pool"]
      @frames = FrameDecoder.new(hello["max_frame"])
      @concurrency = hello["concurrency"]
      @on_invalid = on_invalid
      @outstanding = {}
      @outgoing = "".b
      @peer_max_frame = LIMITS["handshake_frame"]
      @closed = @drain_sent = @drain_received = false
      put({ "type" => "hello", **hello })
    end

    # Whether the connection is over: write what is left of `take`, then close.
    def closed?
      @closed
    end

    # How many events wait for an answer.
    def outstanding
      @outstanding.size
    end

    # The octets to write now, in BINARY; empty if there are none.
    def take
      octets = @outgoing
      @outgoing = "".b
      octets
    end

    # The events and notifications (`id` nil) to be run now, in order.
    def receive(octets)
      events = []
      @frames.feed(octets).each do |line|
        return events if closed?

        event = message(Wire.parse_line(line))
        events << event if event
      end
      raise @frames.broken if @frames.broken && !closed?

      events
    rescue ProtocolError => error
      close(error.code, error.message)
      events
    end

    # The socket is closed: no answer is awaited any more.
    def lost(reason = nil)
      @closed = true
      @close_reason ||= reason
      @outstanding.each_value { |event| event.cancel("disconnected") }
      @outstanding.clear
    end

    # The worker is told to stop: no further events, then bye.
    def drain(reason = "stopping")
      return close("stopping") unless welcome
      return if @drain_sent || closed?

      @drain_sent = true
      put({ "type" => "drain", "reason" => reason })
      leave_if_done
    end

    # Leaves at once, with a code of protocol/README.md §9.
    def leave(code = "stopping")
      close(code)
    end

    # Sends the verdict, or the error `invalid_verdict`. False if the event has had its answer.
    def answer(event, verdict)
      return false unless waits?(event)

      line = begin
        line_of(event, verdict)
      rescue InvalidVerdict => error
        report(error.message)
        return fail(event, "invalid_verdict", true, error.message, event.author(""))
      end
      @outstanding.delete(event.id)
      @outgoing << line
      leave_if_done
      true
    end

    # Sends `error`. False if the event has had its answer.
    def fail(event, code, started, message = nil, plugin = nil)
      return false unless waits?(event)

      @outstanding.delete(event.id)
      error(event.id, code, started, message, plugin)
      leave_if_done
      true
    end

    # Sends the message `progress`, if the event still waits.
    def progress(message)
      put(message) if @outstanding.key?(message["id"]) && !closed?
    end

    # The message that answers `event` with `verdict`, checked, and its line. Raises InvalidVerdict.
    def self.answer_to(event, verdict)
      message = Verdict.plain(event.message_of(verdict))
      violation = Gatepost.check(event.raw, message)
      return [message, Wire.encode_line(message)] unless violation

      raise InvalidVerdict, "#{event.author(violation.message)} at #{event.hook}: #{violation.id}: #{violation.message}"
    rescue ArgumentError, TypeError, KeyError, EncodingError, SystemStackError => error
      raise InvalidVerdict, "#{event.author('')} at #{event.hook}: #{error.message}"
    end

    # Text that fits a message.
    def self.for_people(text)
      text = text.to_s.dup
      text = text.force_encoding(Encoding::UTF_8) if [Encoding::BINARY, Encoding::US_ASCII].include?(text.encoding)
      text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub("?")[0, LIMITS["free_text"]]
    end

    private

    def waits?(event)
      !event.id.nil? && @outstanding[event.id].equal?(event)
    end

    def line_of(event, verdict)
      _, line = Connection.answer_to(event, verdict)
      return line if line.bytesize <= @peer_max_frame

      raise InvalidVerdict, "#{event.author('')} at #{event.hook}: the verdict has #{line.bytesize} octets, " \
                            "the frontend takes #{@peer_max_frame}"
    end

    def report(text)
      @on_invalid&.call(Connection.for_people(text))
    end

    def put(message)
      @outgoing << Wire.encode_line(message).b
    end

    def error(id, code, started, message, plugin = nil)
      said = { "type" => "error", "id" => id, "code" => code, "started" => started }
      said["plugin"] = plugin if plugin
      said["message"] = Connection.for_people(message) if message && !message.empty?
      put(said)
    end

    def close(code, message = nil)
      return if closed?

      @closed = true
      @close_reason = message ? "#{code}: #{message}" : code
      bye = { "type" => "bye", "code" => code }
      bye["message"] = Connection.for_people(message) if message
      put(bye)
    end

    def leave_if_done
      close("drained") if @drain_sent && @drain_received && @outstanding.empty?
    end

    # The event that a message brings, if it brings one.
    def message(message)
      type = message["type"]
      return handshake(type, message) unless welcome

      unless EXPECTED.include?(type)
        raise ProtocolError.new(Constants::MESSAGES.key?(type) ? "unexpected_message" : "unknown_type", "type #{type.inspect}"[0, 80])
      end

      case type
      when "event" then return event(message)
      when "notify" then return notify(message)
      when "cancel"
        bad("cancel without an id") unless Wire.integer?(message["id"], 1)
        @outstanding[message["id"]]&.cancel(message["reason"].to_s)
      when "ping"
        bad("ping without n") unless Wire.integer?(message["n"])
        put({ "type" => "pong", "n" => message["n"] })
      when "violation" then violation(message)
      when "drain"
        @drain_received = true
        drain(message["reason"].is_a?(String) ? message["reason"] : "draining")
        leave_if_done
      when "bye" then bye(message)
      end
      nil
    end

    def bad(text)
      raise ProtocolError.new("bad_message", text)
    end

    def bye(message)
      @closed = true
      @close_reason = Connection.for_people("the frontend said bye: #{message['code']}: #{message['message']}")
      nil
    end

    # The frontend did not take an answer: its author hears of it in the log.
    def violation(message)
      hook, rule, text, plugin = message.values_at("hook", "violation", "message", "plugin")
      unless Wire.integer?(message["id"], 1) && [hook, rule, text].all?(String)
        bad("violation without id, hook, violation or message")
      end
      author = plugin.is_a?(String) ? "#{plugin} at " : ""
      report("the frontend did not take the answer to event #{message['id']}: #{author}#{hook}: #{rule}: #{text}")
    end

    def handshake(type, message)
      case type
      when "welcome"
        unless message["protocol"] == 1 && Wire.integer?(message["max_frame"], LIMITS["least_max_frame"])
          bad("welcome without protocol 1 or max_frame")
        end
        @welcome = message
        @peer_max_frame = message["max_frame"]
        @concurrency = message["concurrency"] if Wire.integer?(message["concurrency"], 0)
        @out_folder = File.join(message["spool"], "out", @pool) if message["spool"].is_a?(String)
      when "reject"
        @rejected = message
        @closed = true
        @close_reason = Connection.for_people("rejected: #{message['code']}: #{message['message']}")
      when "bye" then bye(message)
      else
        raise ProtocolError.new(Constants::MESSAGES.key?(type) ? "unexpected_message" : "unknown_type", "before the welcome")
      end
      nil
    end

    def notify(message)
      return unless @hooks.key?(message["hook"]) && message["args"].is_a?(Hash)

      Event.new(message)
    end

    def event(message)
      id, hook = message.values_at("id", "hook")
      bad("an event without an id or a hook") unless Wire.integer?(id, 1) && hook.is_a?(String)
      bad("the id #{id} twice") if @outstanding.key?(id)
      if @outstanding.size >= @concurrency
        error(id, "overloaded", false, "more than #{@concurrency} events")
      elsif !@hooks.key?(hook) then error(id, "not_subscribed", false, hook)
      elsif !(message.values_at("session", "args", "notes").all?(Hash) && Wire.integer?(message["deadline_ms"], 0))
        error(id, "bad_event", true, "session, args, notes or deadline_ms")
      elsif !(missing = missing(message)).empty?
        text = "#{missing.join(' and ')} did not fit into the event"
        report("queue #{message['key']}: #{text}")
        error(id, "incomplete_event", false, text)
      else
        event = Event.new(message)
        event.out_folder = @out_folder
        return @outstanding[id] = event
      end
      nil
    end

    # What handlers of `queue` need and did not get: they must not store a message without it.
    def missing(message)
      return [] unless message["hook"] == "queue" && message["elided"].is_a?(Array)

      message["elided"] & (@hooks["queue"]["needs"] || [])
    end
  end

  # A verdict that no frontend takes. Its text names the handler, the hook, the rule, the place and the value.
  class InvalidVerdict < StandardError; end
end
