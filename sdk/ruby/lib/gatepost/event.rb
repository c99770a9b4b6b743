# frozen_string_literal: true

require "securerandom"
require_relative "header"
require_relative "verdict"
require_relative "wire"

module Gatepost
  # A part of the event is not there: it was not named in `needs`, or it was left out as too large.
  class MissingPart < KeyError; end

  # A reverse-path or forward-path. Texts are UTF-8 if their octets are, else BINARY.
  class Address
    # `address` as between `<` and `>`, empty for the null reverse-path; `local` without its quoting; `domain` is nil for
    # `<>` and `<postmaster>`.
    attr_reader :address, :local, :domain

    def initialize(raw)
      @address = Wire.to_text(raw["address"])
      @local = Wire.to_text(raw["local"])
      @domain = raw["domain"] && Wire.to_text(raw["domain"])
      @params = raw["params"]
    end

    # The ESMTP parameters in order, pairs of a name and a text; the text is nil without `=`.
    def params
      @params.map { |key, value| [key, value && Wire.to_text(value)] }
    end

    # For people: what is not UTF-8 is replaced.
    def to_s
      address.dup.force_encoding(Encoding::UTF_8).scrub("?")
    end

    def inspect
      "<#{self}>"
    end
  end

  # A forward-path with the id that stays its own within the transaction.
  class Recipient < Address
    attr_reader :id

    def initialize(raw)
      super
      @id = raw["id"]
    end
  end

  # One header field, octets as they came: leading space and folding kept.
  class Header
    # `space` is white space between name and colon: obsolete (RFC 5322 §4.5), and mostly empty.
    attr_reader :id, :name, :space, :value

    def initialize(raw)
      @id = raw["id"]
      @name = Wire.to_text(raw["name"])
      @space = Wire.to_text(raw["space"] || "")
      @value = Wire.to_text(raw["value"])
    end

    # The field as it stands in the message, CRLF included, in BINARY.
    def octets
      "#{name.b}#{space.b}:#{value.b}\r\n".b
    end
  end

  # Where the message lies: a spool file, immutable until the answer. Sizes are octets.
  Message = Struct.new(:path, :size, :body_offset)

  # The mail transaction as the frontend has it now.
  class Transaction
    attr_reader :raw

    def initialize(raw, elided = [])
      @raw = raw
      @elided = elided
    end

    def id = raw["id"]
    def recipient_count = raw["recipient_count"]

    # Whether the client hears a reply for each recipient when the message has come (LMTP, PRDR).
    def replies_each = raw.fetch("replies_each", false)

    # When the message may be released, in Unix milliseconds (RFC 4865); nil: at once.
    def hold_until_ms = raw["hold_until_ms"]

    # The reverse-path; nil at `mail`, where nothing is granted yet.
    def sender
      raw["sender"] && Address.new(raw["sender"])
    end

    # The recipients granted so far. Raises MissingPart if not needed, or elided.
    def recipients
      part("recipients").map { |each| Recipient.new(each) }
    end

    # The current header fields in order. Raises MissingPart if not needed, or elided.
    def headers
      part("headers").map { |each| Header.new(each) }
    end

    # The spool file. Raises MissingPart if not needed, or before `received_line`.
    def message
      Message.new(*part("message").values_at("path", "size", "body_offset"))
    end

    private

    def part(name)
      raw.fetch(name) do
        raise MissingPart, "#{name}: left out, the event was too large" if @elided.include?(name)

        raise MissingPart, "#{name}: not there; a handler gets it with needs: [:#{name}], at hooks that have it"
      end
    end
  end

  # The SMTP session as the frontend has it now.
  class Session
    attr_reader :raw

    def initialize(raw)
      @raw = raw
    end

    def id = raw["id"]
    def listener = raw["listener"]

    # Unix milliseconds.
    def started_ms = raw["started_ms"]
    def client_ip = raw.dig("client", "ip")
    def client_port = raw.dig("client", "port")
    def relay? = raw["relay"]
    def early_talker? = raw["early_talker"]

    # Counts by their names, as protocol/events.md has them.
    def counters = raw["counters"]

    # The client's host name; nil until a worker sets it.
    def client_name = text(raw.dig("client", "name"))

    # `HELO`, `EHLO`, or `LHLO` (LMTP); nil before the first.
    def hello_verb = raw.dig("hello", "verb")

    # What the client calls itself; nil before HELO or EHLO.
    def hello_name = text(raw.dig("hello", "name"))

    # The identity that AUTH proved; nil without AUTH.
    def user = text(raw.dig("auth", "user"))

    # How many AUTHs of this session policy refused.
    def auth_failed = counters.fetch("auth_failed", 0)

    # `version`, `cipher`, `sni`, perhaps `client_certificate`; nil without TLS.
    def tls = raw["tls"]

    # Where the message came from, as a trusted client said by XFORWARD; empty if none did.
    def forwarded
      (raw["xforward"] || {}).transform_values { |value| text(value) }
    end

    private

    def text(value)
      value && Wire.to_text(value)
    end
  end

  # The message as it is now: octets of the header, then the file from the body on. BINARY.
  class MessageStream
    include Enumerable

    CHUNK = 65_536
    private_constant :CHUNK

    def initialize(header, path, offset)
      @buffer = header.b
      @file = File.open(path, "rb")
      @file.seek(offset)
    end

    # The next `length` octets or fewer, nil at the end; without `length` all that is left.
    def read(length = nil, out = nil)
      fill { length && @buffer.bytesize >= length }
      result = length ? cut(length) : cut(@buffer.bytesize)
      result = nil if length&.positive? && result.empty?
      out ? out.replace(result || "") : result
      result && (out || result)
    end

    # At least one octet and `length` at most. Raises EOFError at the end.
    def readpartial(length, out = nil)
      read(length, out) || raise(EOFError, "end of file reached")
    end

    # The next line with its LF, and of no more than `limit` octets; nil at the end.
    def gets(limit = nil)
      looked = 0
      stop = nil
      fill do
        stop = @buffer.index("\n", looked)
        looked = @buffer.bytesize
        stop || (limit && looked >= limit)
      end
      stop ||= @buffer.index("\n")
      line = cut([stop ? stop + 1 : @buffer.bytesize, limit].compact.min)
      line unless line.empty?
    end

    # Each line with its LF.
    def each_line
      return enum_for(:each_line) unless block_given?

      while (line = gets)
        yield line
      end
      self
    end
    alias each each_line

    def eof?
      fill { !@buffer.empty? }
      @buffer.empty?
    end

    def close
      @file.close
    end

    def closed?
      @file.closed?
    end

    private

    # Reads until the block is true, or the end.
    def fill
      until yield
        octets = @file.read(CHUNK)
        break unless octets

        @buffer << octets
      end
    end

    def cut(length)
      @buffer.slice!(0, length)
    end
  end

  # A question to a handler, or, with `id` nil, a notification (protocol/events.md).
  class Event
    # `key` is stable over retries, the idempotency key; nil for notifications. `actions` is what handlers have asked to
    # be changed so far, and `trace` each plugin's answer so far in this worker.
    attr_reader :raw, :id, :hook, :key, :attempt, :args, :actions, :trace, :cancel_reason
    # The pool's folder for files that `replace_message` names; nil before the welcome.
    attr_accessor :out_folder
    # Called with a `progress` message.
    attr_writer :sender_of_progress

    def initialize(raw)
      @raw = raw
      @began = Event.now
      @id = raw["id"]
      @hook = raw.fetch("hook")
      @key = raw["key"]
      @attempt = raw.fetch("attempt", 1)
      @args = raw.fetch("args")
      @actions = []
      @trace = []
      @ends = [] # how many actions there were after each plugin of `trace`
      @notes = {}
      @extended_ms = 0
      @lock = Mutex.new
      @cancelling = ConditionVariable.new
    end

    def self.now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # What is asked

    # The session. Raises MissingPart at `status`.
    def session
      @session ||= Session.new(raw.fetch("session") { raise MissingPart, "#{hook} has no session" })
    end

    # The mail transaction; nil if there is none.
    def transaction
      raw["transaction"] && Transaction.new(raw["transaction"], elided)
    end

    # `args` of what was asked: at `deny` and `ok` those of the hook that ended.
    def asked
      %w[deny ok].include?(hook) ? args.fetch("args", {}) : args
    end

    # At `mail` the reverse-path asked for, later that of the transaction.
    def sender
      raw_sender = asked["sender"] || mail.raw["sender"]
      raw_sender && Address.new(raw_sender)
    end

    # At `rcpt`, and at `deny` and `ok` after it: the forward-path asked for.
    def recipient
      Recipient.new(asked.fetch("recipient") { raise MissingPart, "#{hook} has no recipient" })
    end

    # The recipients granted; needs `recipients`.
    def recipients = mail.recipients

    # The header fields; needs `headers`.
    def headers = mail.headers

    # The value of the first field of this name, stripped; nil without; needs `headers`.
    def header(name)
      headers.find { |field| field.name.casecmp(name)&.zero? }&.then { |field| stripped(field.value) }
    end

    # One of `asked` of type Bytes, nil if there is none: `name`, `argument`, `command`, `line`, `user`, `password` …
    def argument(name)
      value = asked[name.to_s]
      value && Wire.to_text(value)
    end

    # At `auth`: how many logins failed lately, from the client's `address` and of the `user`.
    def recent_failures = asked.fetch("failed", { "address" => 0, "user" => 0 })

    # At `auth`: which message of a login of several steps this is; 0 with other mechanisms.
    def step = asked.fetch("step", 0)

    # At `auth`: what a worker of this pool gave to `challenge` at the step before; empty at the first.
    def state = argument("state") || ""

    # At `auth`: the token of OAUTHBEARER or XOAUTH2 (RFC 7628 §3.1); nil if the message has none.
    def bearer_token
      return unless step == 1 && %w[OAUTHBEARER XOAUTH2].include?(asked["mechanism"])

      (argument("response") || "").b.split("\x01").each do |pair|
        scheme, token = pair.split(" ", 2)
        next unless scheme&.downcase == "auth=bearer"

        token = token.to_s.strip
        return token unless token.empty?
      end
      nil
    end

    # What was left out because the event was too large: a list of names.
    def elided = raw.fetch("elided", [])

    # What every plugin of every pool has answered so far in this session; needs `trace`.
    def session_trace
      raw.fetch("trace") { raise MissingPart, "trace: not there; a handler gets it with needs: [:trace]" }
    end

    # The spool file's path, its size and where its body begins; needs `message`.
    def message = mail.message

    # The spool file, as it came from the client; needs `message`.
    def message_path = message.path

    # The message as it is now, edits of earlier pools included, as one MessageStream; needs `headers` and `message`.
    # With a block the stream is closed after it, and the block's value is returned.
    def open_message(&block)
      header = headers.map(&:octets).join
      stream(header, message, &block)
    end

    # The body of the message, without the empty line before it; needs `message`.
    def open_body(&block)
      place = message
      offset = place.body_offset
      offset += 2 if File.binread(place.path, 2, offset) == "\r\n"
      stream("", Message.new(place.path, place.size, offset), &block)
    end

    # Time

    # Seconds until the frontend's deadline; infinite for notifications.
    def remaining
      return Float::INFINITY unless raw.key?("deadline_ms")

      ((raw["deadline_ms"] + @extended_ms) / 1000.0) - (Event.now - @began)
    end

    # Whether no session waits for the answer any more. A long handler looks now and then.
    def cancelled?
      !@cancel_reason.nil?
    end

    # Waits, at most so many seconds, until the event is cancelled. Returns whether it is.
    def wait_cancelled(seconds = nil)
      stop = seconds && (Event.now + seconds)
      @lock.synchronize do
        until cancelled?
          left = stop && (stop - Event.now)
          break if left && left <= 0

          @cancelling.wait(@lock, left)
        end
      end
      cancelled?
    end

    # Asks for so many milliseconds more. From any thread.
    def progress(extend_ms)
      raise ArgumentError, "extend_ms is an integer of 1 or more" unless Wire.integer?(extend_ms, 1)
      return unless @sender_of_progress && id

      @extended_ms += extend_ms
      @sender_of_progress.call({ "type" => "progress", "id" => id, "extend_ms" => extend_ms })
    end

    # Notes

    # What plugins noted about the session: a Hash with String keys. Change it freely: the changes go with the verdict.
    def session_notes = scope("session")

    # The same for the transaction. Raises MissingPart if there is none.
    def transaction_notes = scope("transaction")

    # Changes (protocol/verdicts.md, Actions)

    # Adds a header field, `at: :top` or `:bottom`.
    #
    # A line over 998 octets is folded, octets above 127 are encoded (RFC 2047) where the message has no SMTPUTF8, and
    # lines of white space alone are unfolded, here and in `set_header`.
    def add_header(name, value, at: :top)
      act("header.add", "name" => Wire.from_octets(name), "value" => legal(value, name), "at" => at.to_s)
    end

    # Gives the field with this id another value.
    def set_header(id, value)
      edit_header({ "op" => "header.set", "id" => id, "value" => legal(value, name_of(id) || "") })
    end

    # Deletes the field with this id.
    def delete_header(id)
      edit_header({ "op" => "header.delete", "id" => id })
    end

    # Deletes all fields of this name.
    def delete_headers(name) = act("header.delete_all", "name" => Wire.from_octets(name))

    def add_recipient(address) = act("recipient.add", "address" => Wire.from_octets(address))

    # `recipient` is a Recipient or its id, here and below.
    def remove_recipient(recipient) = act("recipient.remove", "id" => id_of(recipient))

    # Gives the recipient another address.
    def replace_recipient(recipient, address)
      act("recipient.replace", "id" => id_of(recipient), "address" => Wire.from_octets(address))
    end

    # Refuses one recipient of a message that has come, with `deny` or `denysoft`; at `data_post` and `queue`. Where the
    # client hears one reply for all (`transaction.replies_each` is false), the whole message is refused.
    def refuse_recipient(recipient, verdict)
      unless verdict.is_a?(Verdict) && %i[deny denysoft].include?(verdict.word)
        raise ArgumentError, "a recipient is refused with deny or denysoft, not #{verdict.inspect[0, 80]}"
      end

      action = { "id" => id_of(recipient), "verdict" => verdict.word.name }
      action["reply"] = verdict.reply if verdict.reply
      act("recipient.refuse", action)
    end

    # Gives the transaction another reverse-path; empty for `<>`.
    def replace_sender(address) = act("sender.replace", "address" => Wire.from_octets(address))

    # A path in `out_folder` for a file of this event alone; nothing is there yet.
    def new_message_path
      raise MissingPart, "the frontend named no spool" unless out_folder

      File.join(out_folder, "#{Process.pid}-#{SecureRandom.hex(16)}")
    end

    # Takes this file of `out_folder` as the message. Changes of the header, made before or after, are made to the header
    # of the file; there a field that was known by its id is known by its name.
    def replace_message(path)
      others = actions.reject { |action| action["op"] == "message.replace" }
      actions.replace([{ "op" => "message.replace", "path" => File.basename(path) }] + others.flat_map { |each| by_name(each) })
      nil
    end

    # Lets the client relay, or not.
    def set_relay(value = true) = act("session.relay", "value" => value) # rubocop:disable Style/OptionalBooleanParameter

    # Names the client's host; nil: it has no name.
    def set_client_name(name) = act("session.client_name", "value" => name && Wire.from_octets(name))

    # Holds the reply back for so many milliseconds: a tarpit without a sleeping worker.
    def delay_reply(milliseconds) = act("reply.delay", "ms" => milliseconds)

    # At `auth`, with a mechanism of several steps: the client is sent `challenge`, 8,192 octets at most. Its answer comes
    # as another event with `state`, 4,096 octets at most, which the client never sees. Return what this returns.
    def challenge(challenge, state: "")
      act("auth.challenge", "challenge" => Wire.from_octets(challenge), "state" => Wire.from_octets(state))
      Verdict.new(:done)
    end

    # For people: the hook and the key.
    def inspect
      "#<Event #{hook} #{key}>"
    end

    # The protocol's side: not for handlers

    # Seconds that handlers may still take: a little less than the frontend waits.
    def handler_seconds
      return Float::INFINITY unless raw.key?("deadline_ms")

      allowed = raw["deadline_ms"] + @extended_ms
      ((allowed - [allowed / 20.0, 250].min) / 1000.0) - (Event.now - @began)
    end

    # The frontend, or the deadline, took the event back.
    def cancel(reason)
      @lock.synchronize do
        @cancel_reason = reason
        @cancelling.broadcast
      end
    end

    # Notes what a plugin answered. What one that declines changes goes with the answer of a later one.
    def heard(plugin, verdict, microseconds)
      trace << { "plugin" => plugin, "verdict" => verdict.word.name, "us" => microseconds }
      if verdict.declined?
        take(verdict.actions)
        verdict.notes.each { |scope, patch| Event.merge(scope(scope), patch) }
      end
      @ends << (actions.size + (verdict.declined? ? 0 : verdict.actions.size))
    end

    # The message that answers this event.
    def message_of(verdict)
      message = { "type" => "verdict", "id" => id, "verdict" => verdict.word.name }
      patches = verdict.declined? && !trace.empty? ? notes_patch({}) : notes_patch(verdict.notes)
      take(verdict.actions) unless verdict.declined? && !trace.empty?
      message["plugin"] = trace.last["plugin"] unless verdict.declined? || trace.empty?
      message["reply"] = verdict.reply if verdict.reply
      message["notes"] = patches unless patches.empty?
      message["actions"] = actions unless actions.empty?
      message["trace"] = trace unless trace.empty?
      message
    end

    # The plugin that asked for the action that `place` names, else the last one that was asked.
    def author(place)
      if (found = place[/\Aactions\[(\d+)\]/, 1])
        index = @ends.index { |stop| found.to_i < stop }
        return trace[index]["plugin"] if index
      end
      trace.empty? ? "no plugin" : trace.last["plugin"]
    end

    # RFC 7396, in place.
    def self.merge(target, patch)
      raise TypeError, "a notes patch is a Hash, not #{patch.inspect[0, 80]}" unless patch.is_a?(Hash)

      patch.each do |key, value|
        case value
        when nil then target.delete(key)
        when Hash
          target[key] = {} unless target[key].is_a?(Hash)
          merge(target[key], value)
        else target[key] = value
        end
      end
    end

    # The merge patch (RFC 7396) that makes `after` out of `before`.
    def self.patch(before, after)
      before = {} unless before.is_a?(Hash)
      result = before.reject { |key, _| after.key?(key) }.transform_values { nil }
      after.each do |key, value|
        raise TypeError, "notes have String keys, not #{key.inspect[0, 80]}" unless key.is_a?(String)

        if value.nil? then result[key] = nil unless before[key].nil?
        elsif !(before.key?(key) && before[key].eql?(value))
          result[key] = value.is_a?(Hash) ? patch(before[key], value) : value
        end
      end
      result
    end

    # A copy that may be changed.
    def self.copy(value)
      case value
      when Hash then value.transform_values { |item| copy(item) }
      when Array then value.map { |item| copy(item) }
      when String then value.dup
      else value
      end
    end

    private

    def mail
      transaction || raise(MissingPart, "there is no transaction")
    end

    def stripped(value)
      value.b.gsub(/\A[ \t\r\n]+|[ \t\r\n]+\z/n, "").force_encoding(value.encoding)
    end

    def stream(header, place)
      stream = MessageStream.new(header, place.path, place.body_offset)
      return stream unless block_given?

      begin
        yield stream
      ensure
        stream.close
      end
    end

    def scope(name)
      @notes[name] ||= begin
        raise MissingPart, "there is no transaction" if name == "transaction" && !raw.key?("transaction")

        Event.copy(raw.fetch("notes", {})[name] || {})
      end
    end

    def notes_patch(more)
      patches = @notes.to_h { |scope, after| [scope, Event.patch((raw["notes"] || {})[scope], after)] }
      patches.reject! { |_, patch| patch.empty? }
      more.each do |scope, patch|
        patches[scope] = patches[scope] && patch.is_a?(Hash) ? patches[scope].merge(patch) : patch
      end
      patches
    end

    def act(operation, fields)
      actions << { "op" => operation, **fields }
      nil
    end

    def id_of(recipient)
      recipient.is_a?(Recipient) ? recipient.id : recipient
    end

    def legal(value, name)
      sender = (raw["transaction"] || {})["sender"] || { "params" => [] }
      utf8 = sender["params"].any? { |key, _| key == "SMTPUTF8" }
      Wire.from_octets(HeaderValue.legal(value.to_s, name.to_s.bytesize, utf8))
    end

    def name_of(id)
      @names ||= ((raw["transaction"] || {})["headers"] || []).to_h { |field| [field["id"], field["name"]] }
      name = @names[id]
      name && Wire.to_text(name)
    end

    def replaced?
      actions.first && actions.first["op"] == "message.replace"
    end

    def edit_header(action)
      actions.concat(replaced? ? by_name(action) : [action])
      nil
    end

    # The same for the file of `message.replace`, where the field has an id that this worker does not know yet.
    def by_name(action)
      return [action] unless %w[header.set header.delete].include?(action["op"])

      name = name_of(action["id"])
      return [action] unless name

      name = Wire.from_octets(name)
      edits = [{ "op" => "header.delete_all", "name" => name }]
      edits << { "op" => "header.add", "name" => name, "value" => action["value"], "at" => "top" } if action["op"] == "header.set"
      edits
    end

    # Adds what a handler answered to what it asked for by the methods here.
    def take(list)
      return actions.push(list) unless list.is_a?(Array)

      list.each do |action|
        case action.is_a?(Hash) && action["op"]
        when "message.replace" then action["path"].is_a?(String) ? replace_message(action["path"]) : actions.push(action)
        when "header.set", "header.delete" then edit_header(action)
        else actions << action
        end
      end
    end
  end
end
