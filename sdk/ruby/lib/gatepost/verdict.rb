# frozen_string_literal: true

require_relative "constants"

module Gatepost
  # What a handler answers (protocol/verdicts.md). The methods of Verdicts make them. Frozen.
  class Verdict
    # The word, a Symbol: `:deny`. `text` is the lines of the reply; `code` and `status` are nil for those of the hook.
    # `notes` is a merge patch (RFC 7396) for each scope; `actions` is a list.
    attr_reader :word, :text, :code, :status, :notes, :actions

    # Raises ArgumentError if the word is no verdict.
    def initialize(word, text: [], code: nil, status: nil, notes: {}, actions: [])
      raise ArgumentError, "unknown_verdict: #{word.inspect[0, 80]} is no verdict" unless Constants::WORDS.include?(word.to_s)

      @word = word.to_sym
      @text = Array(text).flat_map { |each| Verdict.lines(each) }.freeze
      @code = code
      @status = status
      @notes = Verdict.plain(notes || {})
      @actions = Verdict.plain(actions || [])
      freeze
    end

    # The reply as it stands in the message; nil if nothing of it is given.
    def reply
      said = { "code" => code, "status" => status, "text" => text.empty? ? nil : text }.compact
      said unless said.empty?
    end

    Constants::WORDS.each { |word| define_method("#{word}?") { @word.name == word } }

    # Whether the session goes on: `ok`, `declined`.
    def granted?
      ok? || declined?
    end

    # The same word, code, status and text; or, against a Symbol, the same word.
    def ==(other)
      case other
      when Symbol then word == other
      when Verdict then [word, code, status, text] == [other.word, other.code, other.status, other.text]
      else false
      end
    end

    def inspect
      "#<Verdict #{[word, code, status, *text.map(&:inspect)].compact.join(' ')}>"
    end
    alias to_s inspect

    # The lines of a text, without empty ones. What is no text is left to the check.
    def self.lines(text)
      text.is_a?(String) && text.valid_encoding? ? text.split(/\r?\n/).reject(&:empty?) : [text]
    end

    # The same value with strings in place of symbols.
    def self.plain(value)
      case value
      when Hash then value.to_h { |key, item| [key.is_a?(Symbol) ? key.name : key, plain(item)] }
      when Array then value.map { |item| plain(item) }
      when Symbol then value.name
      else value
      end
    end
  end

  # Makes verdicts. `include Gatepost::Verdicts`, or call `Gatepost::Verdicts.deny`.
  #
  # `text` is a line of the reply each; `code` and `status` are the reply code and the enhanced status code; `notes` is a
  # merge patch for each scope (`{ session: { karma: 2 } }`); `actions` is a list, as protocol/verdicts.md has it.
  module Verdicts
    module_function

    # Nothing to say: the next plugin is asked, then the next pool. A handler that returns nil says the same.
    def declined(notes: {}, actions: [])
      Verdict.new(:declined, notes: notes, actions: actions)
    end

    # Decided: allowed, and no other plugin is asked.
    def ok(*text, **options)
      Verdict.new(:ok, text: text, **options)
    end

    # Refused for good: a 5yz reply.
    def deny(*text, **options)
      Verdict.new(:deny, text: text, **options)
    end

    # Refused for now: a 4yz reply.
    def denysoft(*text, **options)
      Verdict.new(:denysoft, text: text, **options)
    end

    # As `deny`, then the connection is closed.
    def deny_disconnect(*text, **options)
      Verdict.new(:deny_disconnect, text: text, **options)
    end

    # As `denysoft`, then the connection is closed.
    def denysoft_disconnect(*text, **options)
      Verdict.new(:denysoft_disconnect, text: text, **options)
    end

    # Exactly this reply is sent, nothing else is done, and no other plugin is asked.
    def done(code, *text, **options)
      Verdict.new(:done, text: text, code: code, **options)
    end
  end
end
