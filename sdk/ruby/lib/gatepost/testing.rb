# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "../gatepost"

module Gatepost
  # A handler gave an answer that no frontend takes: handler, hook, rule, place and value. The test fails with it.
  class InvalidVerdictError < StandardError; end

  # An SMTP session without a frontend: asks the worker's handlers, and keeps what they did to the session.
  #
  # Each method that asks returns the verdict. A recipient is in the envelope unless a handler refuses it, as with a later
  # pool that accepts. What a handler raises comes out of the method. An answer that no frontend would take raises
  # InvalidVerdictError, and changes nothing. For one thread.
  class TestSession
    # The hooks that `message` asks.
    MESSAGE_HOOKS = %w[data_headers_end data_post_headers data_post queue_pre].freeze
    private_constant :MESSAGE_HOOKS

    # What a test may set. `client_name` and `user` are nil without; `replies_each`: the client hears a reply for each
    # recipient, as with LMTP; `deadline_ms` is what a handler has.
    attr_accessor :client_ip, :client_name, :listener, :relay, :early_talker, :user, :replies_each, :deadline_ms
    # What handlers left: the notes of both scopes; the last verdict, its actions and the milliseconds of its delay; what
    # the last login was answered with, challenge and state; refused recipients, each with `deny` or `denysoft`; what each
    # plugin answered so far.
    attr_reader :worker, :session_notes, :transaction_notes, :last_verdict, :actions, :delay_ms, :last_challenge,
                :refused_recipients, :trace
    alias notes session_notes

    # With a block: the session is given to it, and closed after it.
    def self.open(worker, **options)
      session = new(worker, **options)
      begin
        yield session
      ensure
        session.close
      end
    end

    def initialize(worker, client_ip: "192.0.2.1", client_name: nil, listener: "mx", relay: false, deadline_ms: 20_000)
      @worker = worker
      @client_ip = client_ip
      @client_name = client_name
      @listener = listener
      @relay = relay
      @deadline_ms = deadline_ms
      @early_talker = @replies_each = false
      @session_notes = {}
      @actions = []
      @trace = []
      @delay_ms = @events = @transactions = 0
      @folder = Dir.mktmpdir("gatepost")
      ObjectSpace.define_finalizer(self, TestSession.remover(@folder))
      reset_transaction
    end

    def self.remover(folder)
      proc { FileUtils.rm_rf(folder) }
    end

    # Removes the folder of messages. It is removed at the end of the program as well.
    def close
      FileUtils.rm_rf(@folder)
    end

    # The reverse-path as it is now; nil without a transaction.
    def sender
      @sender && Wire.to_text(@sender["address"])
    end

    # The addresses of the envelope as they are now.
    def recipients
      @recipients.map { |each| Wire.to_text(each["address"]) }
    end

    # The header fields as they are now, in order: pairs of name, and value without white space around it.
    def headers
      @fields.map { |field| [Wire.to_text(field["name"]), Wire.to_text(field["value"]).b.strip.force_encoding(Encoding::UTF_8)] }
    end

    # The value of the first field of this name; nil without.
    def header(name)
      headers.find { |key, _| key.casecmp?(name) }&.last
    end

    # The message as it is now, octets in BINARY: the header fields, then the file from its body on.
    def message_octets
      raise MissingPart, "no message has come" unless @message

      @fields.map { |field| Header.new(field).octets }.join.b + File.binread(@message["path"], nil, @message["body_offset"]).to_s
    end

    # The dialogue

    def connect = ask("connect")
    def helo(name = "client.example.net") = greet("HELO", name)
    def ehlo(name = "client.example.net") = greet("EHLO", name)

    # The client logs in; `args` are further members of the event's `args`, as protocol/events.md has them.
    def auth(user, password = "", mechanism: "PLAIN", **args)
      @last_challenge = nil
      verdict = ask("auth", { "mechanism" => mechanism, "user" => Wire.from_octets(user),
                              "password" => Wire.from_octets(password), **args.transform_keys(&:to_s) })
      @user = user if verdict.ok?
      verdict
    end

    # A transaction begins, unless a handler refuses it. `params` as `{ "SMTPUTF8" => nil, "SIZE" => "1000" }`.
    def mail(sender = "", params = {})
      reset_transaction
      @in_transaction = true
      @transactions += 1
      path = path_of(sender, params)
      verdict = ask("mail", { "sender" => path })
      verdict.granted? ? @sender ||= path : reset_transaction
      verdict
    end

    # The client names a recipient. A transaction with an empty reverse-path begins if there is none.
    def rcpt(recipient, params = {})
      begin_transaction
      @last_recipient += 1
      candidate = { "id" => @last_recipient, **path_of(recipient, params) }
      verdict = ask("rcpt", { "recipient" => candidate }, candidate)
      if verdict.granted?
        @recipients << candidate
        without_repeats
      end
      verdict
    end

    def data = ask("data")

    # The message arrives, lines with CRLF or LF: the hooks `at` are asked in order, up to one that refuses. Returns the
    # last verdict that a handler gave.
    def message(octets, at: MESSAGE_HOOKS)
      begin_transaction
      take(octets.b.gsub("\r\n", "\n").gsub("\n", "\r\n"))
      verdict = Verdict.new(:declined)
      Array(at).map(&:to_s).each do |hook|
        next if worker.handlers(hook).empty?

        verdict = ask(hook)
        break unless verdict.granted?
      end
      @last_verdict = verdict
    end

    # The message that arrived is to be stored.
    def queue = ask("queue", { "queue_id" => "T1.#{@transactions}" })
    def vrfy(argument = "") = ask("vrfy", { "argument" => Wire.from_octets(argument) })
    def help(argument = "") = ask("help", { "argument" => Wire.from_octets(argument) })
    def noop(argument = "") = ask("noop", { "argument" => Wire.from_octets(argument) })

    # The client says something that is no command.
    def unrecognized_command(line)
      ask("unrecognized_command", { "command" => Wire.from_octets(line.split(" ", 2).first.to_s), "line" => Wire.from_octets(line) })
    end

    def quit = ask("quit")

    # The client says RSET.
    def rset
      notify("reset_transaction", { "reason" => "rset" }) if @in_transaction
      reset_transaction
      nil
    end

    # The connection ends: handlers of `disconnect` are told.
    def disconnect(reason = "quit")
      reset_transaction
      notify("disconnect", { "reason" => reason, "duration_ms" => 1 })
    end

    # Handlers are told: `queue_post`, `reset_transaction`, `deny`, `ok`, `disconnect` or `status`.
    def notify(hook, args = {})
      event = event(hook.to_s, args, notify: true)
      worker.handlers(event.hook).each { |handler| handler.call(event) }
      nil
    end

    # The transaction ends: its notes, sender, recipients and message are gone.
    def reset_transaction
      @sender = @message = nil
      @recipients = []
      @fields = []
      @in_transaction = false
      @last_recipient = @last_field = 0
      @transaction_notes = {}
      @refused_recipients = []
    end

    private

    def begin_transaction
      return if @in_transaction

      @in_transaction = true
      @transactions += 1
      @sender = path_of("", {})
    end

    def greet(verb, name)
      verdict = ask(verb.downcase, { "name" => Wire.from_octets(name) })
      if verdict.granted?
        reset_transaction
        @hello = { "verb" => verb, "name" => Wire.from_octets(name) }
      end
      verdict
    end

    def path_of(address, params)
      octets = Wire.octets(address)
      local, at, domain = octets.rpartition("@")
      local, domain = octets, "" if at.empty?
      local = local[1..-2].delete("\\") if local.bytesize > 1 && local.start_with?('"') && local.end_with?('"')
      { "address" => Wire.from_octets(octets), "local" => Wire.from_octets(local),
        "domain" => at.empty? ? nil : Wire.from_octets(domain),
        "params" => params.map { |key, value| [key.to_s, value && Wire.from_octets(value)] } }
    end

    # Asking

    def ask(hook, args = {}, candidate = nil)
      event = event(hook, args)
      if worker.handlers(hook).any?(&:observe)
        worker.handlers(hook).each { |handler| handler.call(event) }
        return @last_verdict = Verdict.new(:declined)
      end
      verdict = worker.ask(event)
      begin
        message, = Connection.answer_to(event, verdict)
      rescue InvalidVerdict => error
        raise InvalidVerdictError, error.message
      end
      commit(Wire.parse_line(Wire.encode_line(message)), event, candidate)
      @last_verdict = verdict
    end

    def commit(message, event, candidate)
      actions = message["actions"] || []
      file_of(actions)
      (message["notes"] || {}).each do |scope, patch|
        Event.merge(scope == "session" ? @session_notes : @transaction_notes, Event.copy(patch))
      end
      @actions = actions
      @delay_ms = 0
      @trace += event.trace
      actions.each { |action| apply(action, candidate) }
      without_repeats
    end

    def file_of(actions)
      path = actions.find { |action| action["op"] == "message.replace" }&.fetch("path")
      return if path.nil? || File.file?(File.join(@folder, path))

      raise InvalidVerdictError, "file_refused: #{path}: there is no such file in event.out_folder"
    end

    def event(hook, args, notify: false)
      @events += 1
      needs = worker.handlers(hook).flat_map(&:needs)
      raw = { "type" => notify ? "notify" : "event", "hook" => hook, "args" => args, "session" => session,
              "notes" => { "session" => @session_notes } }
      unless notify
        raw.update("id" => @events, "key" => "T1.#{@transactions}.#{@events}", "attempt" => 1, "deadline_ms" => @deadline_ms)
      end
      if @in_transaction
        transaction = { "id" => "T1.#{@transactions}", "sender" => @sender, "recipient_count" => @recipients.size,
                        "replies_each" => @replies_each }
        transaction["recipients"] = @recipients if needs.include?("recipients")
        transaction["headers"] = @fields if @message && needs.include?("headers")
        transaction["message"] = @message if @message && needs.include?("message")
        raw["transaction"] = transaction
        raw["notes"]["transaction"] = @transaction_notes
      end
      raw["trace"] = @trace if needs.include?("trace")
      # A handler gets what a frontend sends: JSON, and nothing that is shared with this session.
      event = Event.new(Wire.parse_line(Wire.encode_line(raw)))
      event.out_folder = @folder
      event
    end

    def session
      { "id" => "T1", "listener" => listener, "started_ms" => (Time.now.to_f * 1000).to_i,
        "client" => { "ip" => client_ip, "port" => 50_000, "name" => client_name && Wire.from_octets(client_name) },
        "server" => { "ip" => "192.0.2.25", "port" => 25 }, "proxy" => nil, "hello" => @hello, "tls" => nil,
        "auth" => user && { "mechanism" => "PLAIN", "user" => Wire.from_octets(user) },
        "relay" => relay, "early_talker" => early_talker,
        "counters" => { "commands" => @events, "errors" => 0, "unrecognized" => 0, "transactions" => @transactions,
                        "rcpt_ok" => @recipients.size, "rcpt_denied" => 0 } }
    end

    # What an answer changes

    # This is the message from here on; no id of the fields before is used again.
    def take(octets)
      head, stop, = octets.partition("\r\n\r\n")
      if octets.start_with?("\r\n")
        head = ""
        body_offset = 0
      else
        body_offset = stop.empty? ? octets.bytesize : head.bytesize + 2
      end
      @fields = []
      head.split("\r\n").each do |line|
        if line.start_with?(" ", "\t") && @fields.any?
          field = @fields.last
          field["value"] = Wire.from_octets(Wire.to_octets(field["value"]) + "\r\n" + line)
        elsif !line.empty?
          name, _, value = line.partition(":")
          @fields << field(name, value)
        end
      end
      path = File.join(@folder, "message-#{@events}")
      File.binwrite(path, octets)
      @message = { "path" => path, "size" => octets.bytesize, "body_offset" => body_offset }
    end

    def field(name, value)
      @last_field += 1
      { "id" => @last_field, "name" => Wire.from_octets(name), "value" => spaced(value) }
    end

    def spaced(octets)
      Wire.from_octets(octets.start_with?(" ", "\t") ? octets : " ".b + octets)
    end

    def apply(action, candidate)
      id = action["id"]
      case action["op"]
      when "header.add"
        added = field(Wire.to_octets(action["name"]), Wire.to_octets(action["value"]))
        action["at"] == "bottom" ? @fields.push(added) : @fields.unshift(added)
      when "header.set"
        @fields.each { |field| field["value"] = spaced(Wire.to_octets(action["value"])) if field["id"] == id }
      when "header.delete" then @fields.reject! { |field| field["id"] == id }
      when "header.delete_all"
        name = Wire.to_octets(action["name"]).downcase
        @fields.reject! { |field| Wire.to_octets(field["name"]).downcase == name }
      when "recipient.add"
        @last_recipient += 1
        @recipients << { "id" => @last_recipient, **path_of(Wire.to_octets(action["address"]), {}) }
      when "recipient.replace"
        [*@recipients, candidate].compact.each do |each|
          each.update(path_of(Wire.to_octets(action["address"]), {}).merge("params" => each["params"])) if each["id"] == id
        end
      when "recipient.remove" then @recipients.reject! { |each| each["id"] == id }
      when "recipient.refuse"
        refused, @recipients = @recipients.partition { |each| each["id"] == id }
        refused.each { |each| @refused_recipients << [Wire.to_text(each["address"]), action["verdict"]] }
      when "sender.replace"
        @sender = path_of(Wire.to_octets(action["address"]), {}).merge("params" => @sender ? @sender["params"] : [])
      when "message.replace" then take(File.binread(File.join(@folder, action["path"])))
      when "session.relay" then @relay = action["value"]
      when "session.client_name" then @client_name = action["value"] && Wire.to_text(action["value"])
      when "reply.delay" then @delay_ms = [@delay_ms, action["ms"]].max
      when "auth.challenge"
        @last_challenge = [Wire.to_octets(action["challenge"]), Wire.to_octets(action["state"])]
      end
    end

    # Of recipients that are the same the first stays; the letter case of a domain does not count.
    def without_repeats
      @recipients.uniq! { |each| [each["local"], each["domain"] && Wire.to_octets(each["domain"]).downcase] }
    end
  end
end
