# frozen_string_literal: true

require_relative "wire"

module Gatepost
  # Values of header fields that may stand in a message (RFC 5322 §2.1.1, RFC 2047, RFC 6532). Without I/O.
  module HeaderValue
    # Octets of a line without its CRLF, and where long lines are folded if they can be (RFC 5322 §2.1.1).
    LONGEST_LINE = 998
    PREFERRED_LINE = 78
    # Octets of an encoded word with its delimiters (RFC 2047 §2).
    LONGEST_WORD = 75
    FOLD = /\r\n(?=[ \t])/n
    private_constant :FOLD

    module_function

    # The octets that may follow the colon of a field whose name has `name_octets`.
    #
    # NUL is left out, and so are CR and LF that fold nothing. Lines of white space alone, which a reader that strips it
    # takes for the end of the header, are unfolded. Octets above 127 become encoded words unless `allows_8bit`. A line
    # over 998 octets is folded at its white space, and within a word that is longer than that.
    def legal(value, name_octets, allows_8bit)
      value = Wire.octets(value)
      value = without_blank_lines(value.split(FOLD, -1).map { |line| line.delete("\r\n\0") }) if value.match?(/[\r\n\0]/n)
      value = encoded(value) unless allows_8bit || value.ascii_only?
      return value if name_octets + 2 + value.bytesize <= LONGEST_LINE

      # The colon, and the space that the frontend puts in front of a value without one.
      before = name_octets + (value.start_with?(" ", "\t") ? 1 : 2)
      lines = value.split(FOLD, -1)
      lines.each_with_index.map { |line, index| folded(line, index.zero? ? before : 0) }.join("\r\n")
    end

    def without_blank_lines(lines)
      first, *rest = lines
      rest.each_with_object(first.dup) { |line, value| value << (line.match?(/[^ \t]/n) ? "\r\n" : "") << line }
    end

    # Each run of words with octets above 127 as encoded words. White space between two encoded words is not shown
    # (RFC 2047 §6.2), so what stands between such words goes into them.
    def encoded(value)
      result = "".b
      run = "".b
      gap = "".b
      value.scan(/([ \t\r\n]*)([^ \t\r\n]+)|([ \t\r\n]+)\z/n) do |before, word, last|
        gap = before || last
        if word.nil? then break
        elsif word.ascii_only?
          result << words(run) << gap << word
          run = "".b
        elsif run.empty?
          result << gap
          run << word
        else run << gap.delete("\r\n") << word
        end
        gap = "".b
      end
      result << words(run) << gap
    end

    # Text as encoded words of whole characters, folded between them.
    def words(octets)
      return octets if octets.empty?

      text = octets.dup.force_encoding(Encoding::UTF_8)
      valid = text.valid_encoding?
      start = valid ? "=?UTF-8?Q?".b : "=?unknown-8bit?Q?".b
      list = [start.dup]
      (valid ? text : octets).each_char do |character|
        quoted = character.each_byte.map { |octet| quoted(octet) }.join
        list << start.dup if list.last.bytesize + quoted.bytesize + 2 > LONGEST_WORD
        list.last << quoted
      end
      list.map { |word| word << "?=" }.join("\r\n ").b
    end

    # RFC 2047 §4.2, with the octets that may stand in a phrase (§5, 3).
    def quoted(octet)
      character = octet.chr
      return "_" if octet == 0x20

      character.match?(/[0-9A-Za-z]/n) ? character : format("=%02X", octet)
    end

    # `before` octets stand before the line.
    def folded(line, before)
      return line if before + line.bytesize <= LONGEST_LINE

      lines = []
      current = "".b
      line.scan(/([ \t]*)([^ \t]+)/n) do |space, rest|
        space = space.byteslice(0, PREFERRED_LINE)
        taken = lines.empty? ? before : 0
        if !current.empty? && taken + current.bytesize + space.bytesize + rest.bytesize > PREFERRED_LINE
          lines << current
          current = "".b
        end
        start = 0
        loop do
          room = LONGEST_LINE - (lines.empty? ? before : 0) - current.bytesize
          break if space.bytesize + rest.bytesize - start <= room

          stop = start + [0, room - space.bytesize].max
          lines << (stop > start ? current + space + rest.byteslice(start, stop - start) : current)
          space = " ".b if stop > start || space.empty?
          start = stop
          current = "".b
        end
        current += space + rest.byteslice(start, rest.bytesize - start)
      end
      (lines << current).join("\r\n").b
    end
  end
end
