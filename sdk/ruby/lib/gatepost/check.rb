# frozen_string_literal: true

require_relative "constants"
require_relative "wire"

module Gatepost
  # The rule that a verdict breaks, by its name in protocol/verdicts.md, and what is wrong where.
  Violation = Struct.new(:id, :message)

  # Whether a verdict is one that a frontend takes (protocol/verdicts.md, Invalid verdicts). Without I/O.
  module Check
    # Breaks off at the first rule that is broken.
    class Broken < StandardError
      attr_reader :id

      def initialize(id, message)
        super(message)
        @id = id
      end
    end
    private_constant :Broken

    CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/
    STATUS = /\A([0-9])\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})\z/
    NAME = /\A[!-9;-~]{1,255}\z/n
    HOST = /\A[!-~]{1,255}\z/n
    FOLD = /\r\n(?=[ \t])/n
    LABEL = "[A-Za-z0-9_\\x80-\\xff](?:[A-Za-z0-9_\\x80-\\xff-]*[A-Za-z0-9_\\x80-\\xff])?"
    # What the SMTP parser takes: local part, then domain or address literal (RFC 5321 §4.1.2, RFC 6531 §3.3).
    MAILBOX = Regexp.new(
      "\\A([!#-'*+\\-./-9=?A-Z^-~\\x80-\\xff]+|\"(?:[ !#-\\[\\]-~\\x80-\\xff]|\\\\[ -~])*\")" \
      "@(#{LABEL}(?:\\.#{LABEL})*\\.?|\\[[!-Z^-~]+\\])\\z", Regexp::NOENCODING
    )
    CLASSES = { "deny" => 5, "deny_disconnect" => 5, "denysoft" => 4, "denysoft_disconnect" => 4 }.freeze
    LIMITS = Constants::LIMITS
    private_constant :CONTROL, :STATUS, :NAME, :HOST, :FOLD, :LABEL, :MAILBOX, :CLASSES, :LIMITS

    module_function

    # The first rule that the message `verdict` breaks as an answer to the message `event`, a Violation; nil if it
    # breaks none. Both are Hashes with String keys, as they stand on the wire.
    #
    # What only the frontend knows is left to it: its limit of recipients, the file of `message.replace`, and ids of
    # lists that the event does not have.
    def check(event, verdict)
      form(verdict)
      meaning(event, verdict)
      nil
    rescue Broken => error
      Violation.new(error.id, error.message)
    end

    def broken(id, message)
      raise Broken.new(id, message)
    end

    def shown(value)
      text = begin
        value = value.dup.force_encoding(Encoding::UTF_8).scrub { |octets| "\\x#{octets.unpack1('H*')}" } if value.is_a?(String)
        Wire.encode(value)
      rescue ArgumentError, TypeError
        value.inspect.scrub("?")
      end
      text.length <= 80 ? text : "#{text[0, 77]}..."
    end

    # The form: a part that is missing, or of a wrong type

    def form(verdict)
      word = verdict["verdict"]
      broken("unknown_verdict", "verdict: #{shown(word)}: none of #{Constants::WORDS.join(', ')}") unless Constants::WORDS.include?(word)
      plugin = verdict["plugin"]
      unless plugin.nil? || (plugin.is_a?(String) && plugin.length <= LIMITS["short_text"])
        broken("plugin_malformed", "plugin: #{shown(plugin)}: not a string of at most #{LIMITS['short_text']} characters")
      end
      form_of_reply(verdict["reply"], "reply", "reply_malformed")
      notes = verdict["notes"]
      unless notes.nil? || (notes.is_a?(Hash) && %w[session transaction].all? { |scope| notes.fetch(scope, {}).is_a?(Hash) })
        broken("notes_malformed", "notes: #{shown(notes)}: not an object of objects")
      end
      form_of_actions(verdict["actions"]) unless verdict["actions"].nil?
      form_of_trace(verdict["trace"]) unless verdict["trace"].nil?
    end

    def form_of_reply(reply, place, rule)
      return if reply.nil?

      broken(rule, "#{place}: #{shown(reply)}: not an object") unless reply.is_a?(Hash)
      code, status, text = reply.values_at("code", "status", "text")
      broken(rule, "#{place}.code: #{shown(code)}: not an integer") unless code.nil? || Wire.integer?(code)
      broken(rule, "#{place}.status: #{shown(status)}: not a string") unless status.nil? || status.is_a?(String)
      return if text.nil? || (text.is_a?(Array) && text.all?(String))

      broken(rule, "#{place}.text: #{shown(text)}: not a list of strings")
    end

    def form_of_actions(actions)
      broken("actions_malformed", "actions: #{shown(actions)}: not a list") unless actions.is_a?(Array)
      broken("too_many_actions", "actions: #{actions.size}: over #{LIMITS['actions']}") if actions.size > LIMITS["actions"]
      actions.each_with_index do |action, index|
        place = "actions[#{index}]"
        op = action["op"] if action.is_a?(Hash)
        broken("actions_malformed", "#{place}: #{shown(action)}: not an object with a string op") unless op.is_a?(String)
        keys = Constants::ACTIONS[op]
        broken("unknown_action", "#{place}.op: #{shown(op)}: none that there is") unless keys
        keys.each do |key|
          next if field?(op, key, action)

          broken("actions_malformed", "#{place}.#{key}: #{shown(action[key])}: missing, or of a wrong type")
        end
        if op == "header.add" && ![nil, "top", "bottom"].include?(action["at"])
          broken("actions_malformed", "#{place}.at: #{shown(action['at'])}: neither top nor bottom")
        end
        form_of_reply(action["reply"], "#{place}.reply", "actions_malformed") if op == "recipient.refuse"
      end
    end

    def field?(op, key, action)
      value = action[key]
      return [true, false].include?(value) if op == "session.relay"
      return action.key?(key) if op == "session.client_name" && value.nil?

      case key
      when "id" then Wire.integer?(value)
      when "ms" then Wire.integer?(value, 0)
      when "verdict" then %w[deny denysoft].include?(value)
      when "path" then value.is_a?(String)
      else
        Wire.to_octets(value)
        true
      end
    rescue ArgumentError
      false
    end

    def form_of_trace(trace)
      unless trace.is_a?(Array) && trace.size <= LIMITS["trace"]
        broken("trace_malformed", "trace: not a list of at most #{LIMITS['trace']}")
      end
      trace.each_with_index do |entry, index|
        next if entry.is_a?(Hash) && entry["plugin"].is_a?(String) && Constants::WORDS.include?(entry["verdict"]) &&
                Wire.integer?(entry["us"], 0)

        broken("trace_malformed", "trace[#{index}]: #{shown(entry)}: not plugin, verdict and us")
      end
    end

    # What the parts say

    def meaning(event, verdict)
      word = verdict["verdict"]
      hook = event["hook"]
      unless verdict["hook"].nil? || verdict["hook"] == hook
        hook = verdict["hook"]
        unless hook.is_a?(String) && (event["ahead"] || {}).key?(hook)
          broken("hook_not_reached", "hook: #{shown(hook)}: not the event's, and not ahead of it")
        end
      end
      allowed = Constants::VERDICTS[hook]
      unless allowed.include?(word)
        broken("verdict_not_allowed", "verdict: #{shown(word)}: #{hook} allows #{allowed.join(', ')}")
      end
      utf8 = smtputf8?(event)
      reply(verdict["reply"], word, hook, utf8, "reply")
      notes(event, verdict["notes"] || {})
      actions = verdict["actions"] || []
      fields(actions, hook, utf8)
      challenge(event, word, actions.count { |action| action["op"] == "auth.challenge" }) if hook == "auth"
      Edit.new(event, hook, utf8).apply(actions) unless actions.empty?
    end

    def smtputf8?(event)
      sender = (event["transaction"] || {})["sender"] || event["args"]["sender"] || {}
      (sender["params"] || []).any? { |key, _| key == "SMTPUTF8" }
    end

    def reply(reply, word, hook, utf8, place)
      line = hook == "received_line" && word == "ok"
      challenge = hook == "auth" && word == "done"
      if reply.nil?
        broken("reply_missing", "#{place}: #{word} at #{hook} needs one") if (word == "done" && !challenge) || line
        return
      end
      code, status, text = reply.values_at("code", "status", "text")
      broken("reply_not_allowed", "#{place}: #{shown(reply)}: the challenge takes its place") if challenge
      if (word == "done" && (code.nil? || text.nil?)) || (line && text.nil?)
        broken("reply_missing", "#{place}: #{shown(reply)}: no code, or no text")
      end
      silent = word == "ok" && Constants::OK_REPLY[hook] == "none"
      if word == "declined" || silent || (hook == "received_line" && (code || status))
        broken("reply_not_allowed", "#{place}: #{shown(reply)}: the client does not get it")
      end
      broken("reply_code", "#{place}.code: #{code}: not for #{word} at #{hook}") if code && !code?(code, word, hook)
      if status
        wanted = code ? code / 100 : CLASSES.fetch(word, hook == "unrecognized_command" ? 5 : 2)
        found = status.valid_encoding? && STATUS.match(status)
        unless found && found[1].to_i == wanted
          broken("reply_status", "#{place}.status: #{shown(status)}: not a status code of class #{wanted}")
        end
      end
      text_of_reply(text, line, utf8, place) if text
    end

    def text_of_reply(text, line, utf8, place)
      if !text.size.between?(1, LIMITS["reply_lines"]) || (line && text.all?(&:empty?))
        broken("reply_text", "#{place}.text: #{text.size} lines: not 1 to #{LIMITS['reply_lines']}")
      end
      text.each_with_index do |each, index|
        wrong = if !each.valid_encoding? then "not UTF-8"
                elsif CONTROL.match?(each) then "a control character"
                elsif each.bytesize > LIMITS["reply_line_octets"] then "over #{LIMITS['reply_line_octets']} octets"
                elsif !utf8 && !each.ascii_only? then "not ASCII, and the session has no SMTPUTF8"
                end
        broken("reply_text", "#{place}.text[#{index}]: #{shown(each)}: #{wrong}") if wrong
      end
    end

    def code?(code, word, hook)
      return false unless code.between?(200, 599) && code / 10 % 10 <= 5

      closing = [421, 521].include?(code)
      case word
      when "ok" then Constants::OK_CODES[hook].include?(code)
      when "done" then hook == "quit" ? code == 221 : code / 100 != 3 && !closing && code != 221
      else code / 100 == CLASSES[word] && (!closing || hook == "connect" || word.end_with?("_disconnect"))
      end
    end

    def notes(event, notes)
      if !(notes["transaction"] || {}).empty? && event["transaction"].nil?
        broken("notes_no_transaction", "notes.transaction: there is no transaction")
      end
      %w[session transaction].each do |scope|
        patch = notes[scope] || {}
        next if patch.empty?

        [patch, merged((event["notes"] || {})[scope], patch)].each do |value|
          octets = octets_of(value)
          next if octets <= LIMITS["notes_octets"]

          broken("notes_too_large", "notes.#{scope}: #{octets} octets: over #{LIMITS['notes_octets']}")
        end
      end
    end

    def octets_of(notes)
      Wire.encode(notes).bytesize
    rescue ArgumentError, TypeError => error
      broken("notes_malformed", "notes: #{error.message}")
    end

    # RFC 7396.
    def merged(before, patch)
      result = before.is_a?(Hash) ? before.dup : {}
      patch.each do |key, value|
        if value.nil? then result.delete(key)
        else result[key] = value.is_a?(Hash) ? merged(result[key], value) : value
        end
      end
      result
    end

    def fields(actions, hook, utf8)
      actions.each_with_index do |action, index|
        op = action["op"]
        place = "actions[#{index}]"
        allowed = Constants::ACTIONS_AT[hook]
        unless allowed.include?(op)
          list = allowed.empty? ? "none" : allowed.join(", ")
          broken("action_not_allowed", "#{place}.op: #{shown(op)}: #{hook} allows #{list}")
        end
        field(action, op, place, index)
        reply(action["reply"], action["verdict"], hook, utf8, "#{place}.reply") if op == "recipient.refuse"
      end
    end

    def field(action, op, place, index)
      if %w[header.add header.delete_all].include?(op)
        name = Wire.to_octets(action["name"])
        broken("header_name", "#{place}.name: #{shown(name)}: not a field name (RFC 5322 §2.2)") unless NAME.match?(name)
      end
      case op
      when "header.add", "header.set"
        value = Wire.to_octets(action["value"])
        wrong = wrong_in_value(value)
        broken("header_value", "#{place}.value: #{shown(value)}: #{wrong}") if wrong
      when "session.client_name"
        return if action["value"].nil?

        value = Wire.to_octets(action["value"])
        broken("value_invalid", "#{place}.value: #{shown(value)}: not a host name") unless HOST.match?(value)
      when "message.replace"
        broken("action_not_allowed", "#{place}.op: #{shown(op)}: not the first action") if index.positive?
        path = action["path"].b
        if ["", ".", ".."].include?(path) || path.match?(%r{[/\0]}n) || path.bytesize > LIMITS["path_octets"]
          broken("path_invalid", "#{place}.path: #{shown(path)}: not a bare file name")
        end
      when "auth.challenge"
        %w[challenge state].each do |key|
          limit = LIMITS["#{key}_octets"]
          broken("challenge_too_large", "#{place}.#{key}: over #{limit} octets") if Wire.to_octets(action[key]).bytesize > limit
        end
      end
    end

    def wrong_in_value(value)
      return "over #{LIMITS['header_value_octets']} octets" if value.bytesize > LIMITS["header_value_octets"]
      return "a NUL" if value.include?("\0")

      lines = value.split(FOLD, -1)
      if lines.any? { |line| line.include?("\n") }
        return value.include?("\r\n") ? "a CRLF that no space or TAB follows" : "a bare LF"
      end
      return "a bare CR" if lines.any? { |line| line.include?("\r") }

      "a line of white space alone" if lines.drop(1).any? { |line| line.match?(/\A[ \t]*\z/n) }
    end

    def challenge(event, word, count)
      if word != "done"
        broken("challenge_not_allowed", "actions: a challenge with #{word}") if count.positive?
        return
      end
      rule = count.zero? ? "challenge_missing" : "challenge_not_allowed"
      broken(rule, "actions: #{count} challenges with done") if count != 1
      step = event["args"]["step"]
      return if Wire.integer?(step) && step < LIMITS["login_steps"]

      broken("challenge_not_allowed", "actions: the login has no further step")
    end

    # What the actions would leave of the lists that the event has.
    class Edit
      def initialize(event, hook, utf8)
        transaction = event["transaction"] || {}
        @hook = hook
        @utf8 = utf8
        @headers = transaction["headers"]&.to_h do |field|
          [field["id"], [Wire.to_octets(field["name"]), Wire.to_octets(field["value"])]]
        end
        @recipients = transaction["recipients"]&.map { |each| each["id"] }
        @candidate = hook == "rcpt" ? (event["args"]["recipient"] || {})["id"] : nil
        @added_header = @added_recipient = @replaced = false
      end

      def apply(actions)
        actions.each_with_index do |action, index|
          place = "actions[#{index}]"
          op = action["op"]
          if op == "message.replace"
            @headers = nil
            @replaced = true
          elsif op.start_with?("header.") then header(op, action, place)
          elsif op.start_with?("recipient.") then recipient(op, action, place)
          end
          if %w[recipient.add recipient.replace sender.replace].include?(op)
            address(Wire.to_octets(action["address"]), op == "sender.replace", "#{place}.address")
          end
        end
        removed = actions.any? { |action| action["op"] == "recipient.remove" }
        return unless removed && @hook != "rcpt" && @recipients && @recipients.empty? && !@added_recipient

        Check.broken("no_recipients", "actions: no recipient is left")
      end

      private

      def header(op, action, place)
        old = nil
        if %w[header.set header.delete].include?(op)
          id = action["id"]
          if @replaced || (@headers && !@headers.key?(id) && !(@added_header && id.positive?))
            Check.broken("unknown_header", "#{place}.id: #{id}: no field has it")
          end
          old = (@headers || {})[id]
        end
        case op
        when "header.add"
          value(Wire.to_octets(action["name"]), Wire.to_octets(action["value"]), nil, "#{place}.value")
          @added_header = true
        when "header.set"
          name = old ? old[0] : "".b
          octets = Wire.to_octets(action["value"])
          value(name, octets, old, "#{place}.value")
          @headers[id] = [name, octets] if @headers
        when "header.delete" then @headers&.delete(id)
        when "header.delete_all"
          name = Wire.to_octets(action["name"]).downcase
          @headers&.reject! { |_, field| field[0].downcase == name }
        end
      end

      # `old` is the field that is set anew; nil for one that is added.
      def value(name, value, old, place)
        return if @headers.nil? && !@replaced # it may be one that came
        return if (@headers || {}).each_value.any? { |field| field[1] == value }

        spaced = value.start_with?(" ", "\t") ? value : " ".b + value
        limit = LIMITS["header_line_octets"]
        if (name + ":".b + spaced).split("\r\n", -1).any? { |line| line.bytesize > limit }
          Check.broken("header_value", "#{place}: #{Check.shown(value)}: a line over #{limit} octets")
        end
        return if value.ascii_only? || @utf8 || (old && !old[1].ascii_only?)

        Check.broken("header_value", "#{place}: #{Check.shown(value)}: not ASCII, and the session has no SMTPUTF8")
      end

      def recipient(op, action, place)
        if op == "recipient.add"
          @added_recipient = true
          return
        end
        id = action["id"]
        return if op == "recipient.replace" && id == @candidate

        known = @recipients.nil? || @recipients.include?(id) || @added_recipient
        if id < 1 || !known || id == @candidate
          Check.broken("unknown_recipient", "#{place}.id: #{id}: no recipient has it")
        end
        @recipients&.delete(id) if op == "recipient.remove"
      end

      def address(address, null, place)
        return if null ? address.empty? : address.downcase == "postmaster"

        found = MAILBOX.match(address)
        if !found || found[1].bytesize > 64 || found[2].chomp(".").bytesize > 255 || address.bytesize > 254
          Check.broken("address_invalid", "#{place}: #{Check.shown(address)}: not a mailbox (RFC 5321 §4.1.2)")
        end
        return if address.ascii_only? || @utf8

        Check.broken("address_invalid", "#{place}: #{Check.shown(address)}: not ASCII, and the session has no SMTPUTF8")
      end
    end
    private_constant :Edit
  end

  # The first rule that `verdict` breaks as an answer to `event` (Check.check); nil if it breaks none.
  def self.check(event, verdict)
    Check.check(event, verdict)
  end
end
