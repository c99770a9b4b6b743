# frozen_string_literal: true

require "strscan"

module Gatepost
  # The peer broke the protocol: the connection ends with `bye` and this code.
  class ProtocolError < StandardError
    # One of the codes of protocol/README.md §1.
    attr_reader :code

    def initialize(code, message)
      super(message)
      @code = code
    end
  end

  # Lines and octets: strict reading and writing of messages (protocol/README.md §1). Without I/O.
  module Wire
    # The largest integer that every implementation of JSON keeps exactly.
    LARGEST = (2**53) - 1
    # How deep a message may nest; its outer object is the first level.
    DEEPEST = 32

    # Reads one value of JSON and nothing else (RFC 8259, RFC 7493).
    class Reader
      SPACE = /[ \t\r]+/
      PLAIN = /"([^"\\\x00-\x1f]*)"/
      PIECE = /[^"\\\x00-\x1f]+/
      ESCAPE = %r{\\(["\\/bfnrt])}
      CODE = /\\u([0-9a-fA-F]{4})/
      NUMBER = /-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/
      WORD = /true|false|null/
      WORDS = { "true" => true, "false" => false, "null" => nil }.freeze
      ESCAPED = { "b" => "\b", "f" => "\f", "n" => "\n", "r" => "\r", "t" => "\t" }.freeze
      private_constant :SPACE, :PLAIN, :PIECE, :ESCAPE, :CODE, :NUMBER, :WORD, :WORDS, :ESCAPED

      def initialize(text)
        @scanner = StringScanner.new(text)
      end

      # The object on the line.
      def message
        value = value(1)
        @scanner.skip(SPACE)
        bad("octets after the object") unless @scanner.eos?
        bad("not an object") unless value.is_a?(Hash)
        value
      end

      private

      def bad(message)
        raise ProtocolError.new("bad_frame", message)
      end

      def value(depth)
        @scanner.skip(SPACE)
        return @scanner[1].freeze if @scanner.skip(PLAIN)
        return string if @scanner.skip(/"/)
        return object(depth) if @scanner.skip(/\{/)
        return list(depth) if @scanner.skip(/\[/)
        return number if @scanner.scan(NUMBER)

        word = @scanner.scan(WORD)
        bad("not JSON") unless word
        WORDS[word]
      end

      def object(depth)
        bad("nesting over #{DEEPEST}") if depth > DEEPEST
        result = {}
        @scanner.skip(SPACE)
        return result if @scanner.skip(/\}/)

        loop do
          key = key()
          bad("a key twice in one object") if result.key?(key)
          result[key] = value(depth + 1)
          @scanner.skip(SPACE)
          next if @scanner.skip(/,/)
          return result if @scanner.skip(/\}/)

          bad("an object does not end")
        end
      end

      def key
        @scanner.skip(SPACE)
        if @scanner.skip(PLAIN)
          key = @scanner[1].freeze
        else
          bad("a key is missing") unless @scanner.skip(/"/)
          key = string
          bad("U+0000 in a key") if key.include?("\0")
        end
        @scanner.skip(SPACE)
        bad("a colon is missing") unless @scanner.skip(/:/)
        key
      end

      def list(depth)
        bad("nesting over #{DEEPEST}") if depth > DEEPEST
        result = []
        @scanner.skip(SPACE)
        return result if @scanner.skip(/\]/)

        loop do
          result << value(depth + 1)
          @scanner.skip(SPACE)
          next if @scanner.skip(/,/)
          return result if @scanner.skip(/\]/)

          bad("a list does not end")
        end
      end

      def number
        text = @scanner[0]
        if @scanner[1].empty?
          # 17 characters hold the largest integer and its sign; a longer one is not worth its reading.
          integer = text.bytesize > 17 ? LARGEST + 1 : text.to_i
          bad("an integer beyond 2^53-1") if integer.abs > LARGEST
          integer
        else
          float = text.to_f
          bad("a number that is no finite double") unless float.finite?
          float
        end
      end

      def string
        text = +""
        loop do
          if @scanner.scan(PIECE) then text << @scanner[0]
          elsif @scanner.skip(/"/) then return text.freeze
          elsif @scanner.skip(ESCAPE) then text << ESCAPED.fetch(@scanner[1], @scanner[1])
          elsif @scanner.skip(CODE) then text << character(@scanner[1].hex)
          else bad("a string does not end, or has a control octet")
          end
        end
      end

      def character(code)
        return code.chr(Encoding::UTF_8) unless code.between?(0xD800, 0xDFFF)

        bad("a lone surrogate") unless code < 0xDC00 && @scanner.skip(CODE)
        low = @scanner[1].hex
        bad("a lone surrogate") unless low.between?(0xDC00, 0xDFFF)
        (0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)).chr(Encoding::UTF_8)
      end
    end
    private_constant :Reader

    module_function

    # The message on this line, with or without its LF: keys and strings are UTF-8 and frozen.
    # Raises ProtocolError if there is none.
    def parse_line(line)
      text = line.dup.force_encoding(Encoding::UTF_8)
      text.chop! if text.getbyte(-1) == 10
      raise ProtocolError.new("bad_frame", "not UTF-8") unless text.valid_encoding?

      Reader.new(text).message
    end

    # The line that says this message, LF included. Raises ArgumentError or TypeError if a value is not I-JSON.
    def encode_line(message)
      encode(message) << "\n"
    end

    # The value as compact JSON, a new string.
    def encode(value)
      write(+"", value, 1)
    end

    def write(out, value, depth)
      case value
      when String then quote(out, value)
      when Symbol then quote(out, value.name)
      when Integer
        raise ArgumentError, "#{value} is beyond 2^53-1" if value.abs > LARGEST

        out << value.to_s
      when Hash then write_object(out, value, depth)
      when Array
        raise ArgumentError, "nesting over #{DEEPEST}" if depth > DEEPEST

        out << "["
        value.each_with_index do |item, index|
          out << "," unless index.zero?
          write(out, item, depth + 1)
        end
        out << "]"
      when true, false then out << value.to_s
      when nil then out << "null"
      when Float
        raise ArgumentError, "#{value} is no finite number" unless value.finite?

        out << value.to_s
      else raise TypeError, "a #{value.class} is not JSON"
      end
    end

    def write_object(out, value, depth)
      raise ArgumentError, "nesting over #{DEEPEST}" if depth > DEEPEST

      keys = value.keys.map do |key|
        raise TypeError, "the key #{key.inspect[0, 80]} is not a String" unless key.is_a?(String) || key.is_a?(Symbol)

        utf8(key.to_s)
      end
      # Languages disagree whether two compositions of one text are one key (protocol/README.md §1).
      same = keys.map { |key| key.ascii_only? ? key : key.unicode_normalize(:nfc) }
      raise ArgumentError, "a key twice in one object: #{keys.inspect[0, 80]}" if same.uniq.size < same.size

      out << "{"
      value.each_value.with_index do |item, index|
        out << "," unless index.zero?
        raise ArgumentError, "U+0000 in a key" if keys[index].include?("\0")

        quote(out, keys[index]) << ":"
        write(out, item, depth + 1)
      end
      out << "}"
    end

    SHORT = { '"' => '\"', "\\" => "\\\\", "\b" => '\b', "\f" => '\f', "\n" => '\n', "\r" => '\r', "\t" => '\t' }.freeze
    private_constant :SHORT

    def quote(out, text)
      text = utf8(text)
      if text.match?(/["\\\x00-\x1f]/)
        text = text.gsub(/["\\\x00-\x1f]/) { |found| SHORT[found] || format('\u%04x', found.ord) }
      end
      out << '"' << text << '"'
    end

    # The text in UTF-8. Raises ArgumentError if its octets are not.
    def utf8(text)
      return text if text.encoding == Encoding::UTF_8 && text.valid_encoding?

      result = octets(text).force_encoding(Encoding::UTF_8)
      raise ArgumentError, "text that is not UTF-8: #{result.scrub('?').inspect[0, 80]}" unless result.valid_encoding?

      result
    end

    # The octets of a text, in BINARY: those of UTF-8, if the text has another encoding than that and BINARY.
    def octets(text)
      case text.encoding
      when Encoding::UTF_8, Encoding::BINARY, Encoding::US_ASCII then text.b
      else text.encode(Encoding::UTF_8).b
      end
    end

    # The octets of a field of type Bytes, in either form, in BINARY. Raises ArgumentError if it is none.
    def to_octets(value)
      return value.b if value.is_a?(String)

      base64 = value["b64"] if value.is_a?(Hash) && value.size == 1
      raise ArgumentError, "neither a string nor b64" unless base64.is_a?(String)

      octets = base64.unpack1("m0")
      raise ArgumentError, "base64 that is not canonical" unless [octets].pack("m0") == base64

      octets
    end

    # The same as a text: in UTF-8 if the octets are that, else in BINARY.
    def to_text(value)
      return value if value.is_a?(String)

      text = to_octets(value).force_encoding(Encoding::UTF_8)
      (text.valid_encoding? ? text : text.force_encoding(Encoding::BINARY)).freeze
    end

    # A field of type Bytes: a string if and only if the octets are valid UTF-8 without NUL.
    def from_octets(text)
      raise TypeError, "a String is wanted, not #{text.inspect[0, 80]}" unless text.is_a?(String) || text.is_a?(Symbol)

      octets = octets(text.to_s)
      text = octets.dup.force_encoding(Encoding::UTF_8)
      text.valid_encoding? && !text.include?("\0") ? text : { "b64" => [octets].pack("m0") }
    end

    # Whether this is an integer that JSON keeps, `least` or more.
    def integer?(value, least = -LARGEST)
      value.is_a?(Integer) && value.between?(least, LARGEST)
    end
  end

  # Octets in, in any pieces; whole lines out, none of `max_frame` octets or more without its LF.
  class FrameDecoder
    # The ProtocolError once a line was too long: what comes after it is not read.
    attr_reader :broken

    def initialize(max_frame)
      @max_frame = max_frame
      @held = String.new(encoding: Encoding::BINARY)
    end

    # The lines that these octets complete, up to one that is too long.
    def feed(octets)
      return [] if @broken

      lines = []
      octets = octets.b # `index` counts octets
      start = 0
      while (stop = octets.index("\n", start))
        line = @held << octets.byteslice(start, stop - start)
        @held = String.new(encoding: Encoding::BINARY)
        return break_off(lines) if line.bytesize >= @max_frame

        lines << line
        start = stop + 1
      end
      @held << octets.byteslice(start, octets.bytesize - start)
      @held.bytesize >= @max_frame ? break_off(lines) : lines
    end

    private

    def break_off(lines)
      @held.clear
      @broken = ProtocolError.new("frame_too_long", "a line of over #{@max_frame} octets")
      lines
    end
  end
end
