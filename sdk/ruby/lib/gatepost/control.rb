# frozen_string_literal: true

module Gatepost
  # A control file that cannot be read: which line of which file, and why.
  class ControlFileError < StandardError; end

  # The lines of a control file, `rcpthosts` or `badmailfrom` for one, read again when it changes. Safe for threads.
  #
  # The first of `directories` that has the file counts. Empty lines and lines that begin with `#` are left out, white
  # space around a line too. `$include NAME` is the lines of another file. A file that cannot be read any more keeps its
  # last good lines, and the log says so once. Files of the format CDB are not read.
  class ControlFile
    # How deep `$include` goes.
    DEEPEST = 16

    attr_reader :name, :directories

    # `logger` responds to `error`; standard error without one.
    def initialize(name, directories: ENV["GATEPOST_CONFIG"] || "config", logger: nil)
      @name = name
      @directories = Array(directories)
      @logger = logger
      @lock = Mutex.new
    end

    # The lines as they are now, in UTF-8; none if there is no such file.
    def lines
      @lock.synchronize do
        refresh
        (@lines || []).dup
      end
    end

    # The first word of each line.
    def words
      lines.map { |line| line.split(/[ \t]/, 2).first }
    end

    # Whether a line begins with this word, whatever the case of its letters.
    def include?(word)
      words.any? { |each| each.casecmp?(word) }
    end

    # Whether there is such a file.
    def exist?
      @lock.synchronize do
        refresh
        !@lines.nil?
      end
    end

    private

    def stamp(path)
      found = File.stat(path)
      [found.dev, found.ino, found.size, found.mtime.to_r, found.ctime.to_r]
    rescue SystemCallError
      nil
    end

    def refresh
      return if @stamps&.all? { |path, stamp| stamp(path) == stamp }

      stamps = []
      begin
        path = find(name, stamps)
        @lines = path && read(path, stamps, [])
        @said = nil
      rescue SystemCallError, ControlFileError => error
        say("#{name}: #{error.message}; its last good lines count") if @said != error.message
        @said = error.message
      end
      @stamps = stamps
    end

    def say(text)
      @logger ? @logger.error(text) : warn("error gatepost: #{text}")
    end

    def find(name, stamps)
      paths = name.start_with?("/") ? [name] : directories.map { |folder| File.join(folder, name) }
      paths.find do |path|
        stamps << [path, stamp(path)]
        stamps.last[1]
      end
    end

    def read(path, stamps, opened)
      real = File.realpath(path)
      if opened.include?(real) || opened.size >= DEEPEST
        raise ControlFileError, "#{path} includes itself, or includes nest too deeply"
      end

      octets = File.binread(path).delete_prefix("\xEF\xBB\xBF".b)
      octets.split("\n").each.with_index(1).flat_map do |raw, number|
        raw = raw.gsub(/\A[ \t\v\f\r]+|[ \t\v\f\r]+\z/n, "")
        next [] if raw.empty? || raw.start_with?("#")

        text = raw.force_encoding(Encoding::UTF_8)
        raise ControlFileError, "#{path}:#{number}: this line is not UTF-8" unless text.valid_encoding?

        word, other = text.split(/[ \t]+/, 2)
        next [text] if word != "$include"

        target = other && !other.split("/").include?("..") ? find(other, stamps) : nil
        unless target
          raise ControlFileError, "#{path}:#{number}: $include #{other}: there is no such file, or it has .. in it"
        end

        read(target, stamps, opened + [real])
      end
    end
  end
end
