# frozen_string_literal: true

require "socket"
require_relative "connection"
require_relative "verdict"

module Gatepost
  # Ends a handler whose time is over. No StandardError, so that `rescue => e` in a handler does not catch it; `ensure`
  # runs as always.
  class Overdue < Exception; end # rubocop:disable Lint/InheritException

  # Serves the hooks for which it has handlers, for every frontend that has the pool.
  class Worker
    # Notifications that may wait for their handlers; further ones are dropped with a count.
    MOST_NOTIFICATIONS = 1024
    # Octets that may wait for a frontend; nothing is read from it while there are more.
    MOST_WAITING = 1_048_576
    SHORTEST_BACKOFF = 0.05
    LONGEST_BACKOFF = 2.0
    # Seconds that a frontend has for its welcome.
    WELCOME = 5

    Handler = Struct.new(:function, :plugin, :needs, :observe, :idempotent, :extensions, keyword_init: true) do
      def call(event)
        function.arity.zero? ? function.call : function.call(event)
      end
    end
    private_constant :Handler, :MOST_NOTIFICATIONS, :MOST_WAITING, :SHORTEST_BACKOFF, :LONGEST_BACKOFF, :WELCOME

    # Writes a line to standard error: `error gatepost: …`.
    class StandardErrorLog
      %w[info warn error].each do |level|
        define_method(level) { |text| $stderr.write("#{level} gatepost: #{text}\n") }
      end
    end

    attr_reader :name, :pool, :folder, :concurrency, :max_frame, :logger
    # Notifications that were dropped because handlers were too slow.
    attr_reader :dropped_notifications

    # `folder` holds the frontends' sockets; by default `<runtime_directory>/pools/<pool>`. `logger` responds to `info`,
    # `warn` and `error`. `look_every` and `drain_timeout` are seconds. Raises ArgumentError for a name that is none.
    def initialize(name, pool: "policy", runtime_directory: nil, folder: nil, concurrency: 16,
                   max_frame: Constants::LIMITS["sdk_max_frame"], version: nil, instance: nil, logger: nil,
                   look_every: 1.0, drain_timeout: 60.0)
      raise ArgumentError, "name: #{name.inspect}: 1 to 64 of A-Z a-z 0-9 . _ -" unless /\A[A-Za-z0-9._-]{1,64}\z/.match?(name)
      raise ArgumentError, "pool: #{pool.inspect}: no name of a pool" unless /\A[a-z0-9][a-z0-9_-]{0,63}\z/.match?(pool)

      base = runtime_directory || ENV["GATEPOST_RUNTIME_DIRECTORY"] || "var/run"
      @name = name
      @pool = pool
      @folder = folder || File.join(base, "pools", pool)
      @concurrency = concurrency
      @max_frame = max_frame
      @about = { "version" => version, "instance" => instance }.compact
      @logger = logger || StandardErrorLog.new
      @look_every = look_every
      @drain_timeout = drain_timeout
      @handlers = {}
      @dropped_notifications = 0
      @stopping = 0
      @wake_reader, @wake_writer = IO.pipe
    end

    # Each hook is a method: `worker.rcpt(:has_left, needs: [:recipients]) { |event| … }`. See `hook`.
    (Constants::ASKED + Constants::TOLD).each do |hook|
      define_method(hook) { |plugin = nil, handler = nil, **options, &block| hook(hook, plugin, handler, **options, &block) }
    end

    # Registers a handler: a block, or an object that responds to `call`. Several for one hook are asked in order, until
    # one does not decline. It runs in a thread, so it may block. `next` and `return` both end a block.
    #
    # `plugin` is its name in logs, by default the hook's. `needs` are parts of the event, `:recipients`, `:headers`,
    # `:message`, `:trace`. `observe`: it is only told. `idempotent`: at `queue` and `auth` a second attempt does no harm.
    # `extensions`, at `queue` alone, are the SMTP extensions that it keeps for each message that it takes; the worker
    # says those that all its handlers of `queue` keep. Returns self.
    def hook(hook, plugin = nil, handler = nil, needs: [], observe: false, idempotent: false, extensions: [], &block)
      hook = hook.to_s
      plugin, handler = nil, plugin if handler.nil? && plugin.respond_to?(:call)
      function = handler || (block && Worker.callable(block))
      needs = Array(needs).map(&:to_s)
      extensions = Array(extensions).map(&:to_s)
      unless Constants::ASKED.include?(hook) || Constants::TOLD.include?(hook)
        raise ArgumentError, "there is no hook #{hook.inspect}"
      end
      raise ArgumentError, "#{hook}: a block, or an object that responds to call, is wanted" unless function.respond_to?(:call)

      unknown = needs - Constants::NEEDS
      raise ArgumentError, "there is no need #{unknown.first}; there are #{Constants::NEEDS.join(', ')}" unless unknown.empty?
      if !extensions.empty? && (hook != "queue" || observe)
        raise ArgumentError, "extensions are for a handler that is asked at queue"
      end

      function = function.method(:call) unless function.respond_to?(:arity)
      name = plugin || (function.is_a?(Method) && handler.is_a?(Method) ? function.name : hook)
      list = (@handlers[hook] ||= [])
      raise ArgumentError, "#{hook}: one worker either observes or decides" if list.any? { |each| each.observe != observe }

      list << Handler.new(function: function, plugin: name.to_s[0, Constants::LIMITS["short_text"]], needs: needs,
                          observe: observe, idempotent: idempotent, extensions: extensions)
      self
    end

    # The handlers of a hook, in order.
    def handlers(hook)
      @handlers.fetch(hook, [])
    end

    # What this worker says about itself: the message `hello` without its type.
    def hello
      hooks = @handlers.transform_values do |list|
        needs = Constants::NEEDS.select { |need| list.any? { |each| each.needs.include?(need) } }
        said = {}
        said["needs"] = needs unless needs.empty?
        said["observe"] = true if list.first.observe
        said["idempotent"] = true if list.all?(&:idempotent)
        said
      end
      hello = { "protocol" => [1, 1], "pool" => pool,
                "worker" => { "name" => name, **@about, "sdk" => "gatepost-ruby/#{VERSION}", "pid" => Process.pid },
                "concurrency" => concurrency, "max_frame" => max_frame,
                "plugins" => @handlers.values.flatten.map(&:plugin).uniq, "violations" => true, "hooks" => hooks }
      extensions = handlers("queue").map(&:extensions).reduce(:&) || []
      hello["extensions"] = extensions unless extensions.empty?
      hello
    end

    # Asks the handlers of the event's hook in order; the verdict of the first that does not decline. What a handler
    # raises comes out.
    def ask(event)
      verdict = Verdict.new(:declined)
      handlers(event.hook).each do |handler|
        began = Event.now
        yield handler if block_given?
        verdict = Worker.verdict_of(handler.call(event))
        event.heard(handler.plugin, verdict, ((Event.now - began) * 1_000_000).to_i)
        break unless verdict.declined?
      end
      verdict
    end

    # What a handler's value says. A value that is no verdict says `declined`; one that looks like a verdict is an error.
    def self.verdict_of(value)
      return value if value.is_a?(Verdict)

      word = value.is_a?(Array) ? value.first : value
      if (word.is_a?(Symbol) || word.is_a?(String)) && Constants::WORDS.include?(word.to_s)
        raise TypeError, "a handler returns a verdict, #{word}(…), not #{value.inspect[0, 80]}"
      end

      Verdict.new(:declined)
    end

    # The block as a method of the object that wrote it, so that `return` ends it as `next` does.
    def self.callable(block)
      return block if block.lambda?

      holder = Module.new
      holder.define_method(:handler, &block)
      holder.instance_method(:handler).bind(block.binding.receiver)
    end

    # Life

    # Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
    def run
      said = false
      @on_welcome ||= lambda do |welcome|
        next if said

        said = true
        $stdout.write("ready: worker #{name}, pool #{pool}, frontend #{welcome.dig('frontend', 'id')}\n")
        $stdout.flush
      end
      before = %w[TERM INT].to_h do |signal|
        [signal, Signal.trap(signal) { @stopping.positive? ? exit!(128 + Signal.list[signal]) : stop }]
      end
      serve
    ensure
      before&.each { |signal, handler| Signal.trap(signal, handler || "DEFAULT") }
    end

    # Called with each `welcome`.
    def on_welcome(&block)
      @on_welcome = block
      self
    end

    # Drains, and ends `serve`. From any thread, and from a handler of signals.
    def stop
      @stopping += 1
      wake
    end

    # Dials every socket of the folder, looks for new ones every `look_every` seconds, until `stop`.
    def serve
      @links = {}
      @due = {}
      @backoffs = {}
      @done = Thread::Queue.new
      @jobs = Thread::Queue.new
      @notifications = Thread::Queue.new
      @running = {}
      @threads = []
      @notifier = Thread.new { tell while true }
      looked = -Float::INFINITY
      until @stopping.positive?
        now = Event.now
        looked = look(now) if now >= looked + @look_every || @due.each_value.any? { |due| due[:at].between?(looked, now) }
        turn([looked + @look_every, *@due.each_value.map { |due| due[:at] }.select { |at| at > now }].min - Event.now)
      end
      leave
    ensure
      finish
    end

    # A link's event is answered: called by the threads. `block` runs in the thread of `serve`.
    def later(&block)
      @done << block
      wake
    end

    # One connection with its socket.
    class Link
      attr_reader :socket, :connection, :began, :path, :out
      attr_accessor :gone

      def initialize(path, socket, connection)
        @path = path
        @socket = socket
        @connection = connection
        @began = Event.now
        @out = "".b
      end
    end

    # An event that a thread answers.
    class Job
      attr_reader :link, :event
      attr_accessor :plugin, :overdue

      def initialize(link, event)
        @link = link
        @event = event
        @lock = Mutex.new
        @interrupts = 0
      end

      # Runs the block; Overdue may end it, and only it. Raises what it raises.
      def run
        @lock.synchronize { @thread = Thread.current }
        Thread.handle_interrupt(Overdue => :immediate) { yield }
      ensure
        @lock.synchronize { @thread = nil }
        @interrupts.times { swallow } # Thread.pending_interrupt? crashes Ruby 3.1 while the thread is killed
      end

      # Raises Overdue in the thread, if it is at work.
      def interrupt
        @lock.synchronize do
          next unless @thread

          @interrupts += 1
          @thread.raise(Overdue, "the deadline is over")
        end
      end

      private

      # One that came too late for the handler.
      def swallow
        Thread.handle_interrupt(Overdue => :immediate) { Thread.pass }
      rescue Overdue
        nil
      end
    end
    private_constant :Link, :Job

    private

    def wake
      @wake_writer.write_nonblock("!")
    rescue IO::WaitWritable
      nil # it is full: the thread wakes up anyway
    end

    # Dialling

    def look(now)
      paths = begin
        Dir.children(folder).select { |file| file.end_with?(".sock") }.map { |file| File.join(folder, file) }
      rescue SystemCallError
        []
      end
      @due.delete_if { |path, _| !paths.include?(path) && !@links.key?(path) }
      paths.each do |path|
        next if @links.key?(path)

        due = (@due[path] ||= { at: now, backoff: SHORTEST_BACKOFF })
        next if due[:at] > now

        dial(path) || dial_later(path, 0)
      end
      now
    end

    def dial(path)
      socket = Socket.new(:UNIX, :STREAM)
      socket.connect_nonblock(Socket.sockaddr_un(path))
      link = Link.new(path, socket, Connection.new(hello) { |text| logger.error(text) })
      @links[path] = link
      @backoffs[path] = @due.delete(path)[:backoff]
      flush(link)
      true
    rescue SystemCallError, ArgumentError # ArgumentError: the path is too long
      socket&.close
      false
    end

    def dial_later(path, least)
      backoff = (@due[path] || {})[:backoff] || SHORTEST_BACKOFF
      @due[path] = { at: Event.now + [least, rand * backoff].max, backoff: [backoff * 2, LONGEST_BACKOFF].min }
    end

    # One turn: waits for sockets and threads, `seconds` at most

    def turn(seconds)
      now = Event.now
      waits = [seconds]
      @running.each_value { |job| waits << job.event.handler_seconds unless job.overdue }
      waits << 0.2 if @running.each_value.any?(&:overdue)
      @links.each_value { |link| waits << (link.began + WELCOME - now) unless link.connection.welcome }
      open = @links.values.reject(&:gone)
      readers = open.select { |link| link.out.bytesize < MOST_WAITING }.map(&:socket)
      writers = open.reject { |link| link.out.empty? }.map(&:socket)
      readable, writable = IO.select([@wake_reader, *readers], writers, nil, [waits.min, 0].max)
      by_socket = open.to_h { |link| [link.socket, link] }
      writable&.each { |socket| flush(by_socket[socket]) }
      readable&.each { |socket| socket.equal?(@wake_reader) ? hear : read(by_socket[socket]) }
      look_at_time
      @links.values.select(&:gone).each { |link| forget(link) }
    end

    def hear
      @wake_reader.read_nonblock(4096)
      touched = []
      touched << @done.pop.call until @done.empty?
      touched.grep(Link).uniq.each { |link| flush(link) }
    rescue IO::WaitReadable
      nil
    end

    def read(link)
      return if link.gone

      octets = link.socket.read_nonblock(262_144, exception: false)
      return if octets == :wait_readable
      return lost(link, "end of file") if octets.nil?

      greeted = link.connection.welcome
      link.connection.receive(octets).each { |event| event.id ? start(link, event) : notify(event) }
      welcomed(link) if !greeted && link.connection.welcome
      flush(link)
    rescue SystemCallError => error
      lost(link, error.message)
    end

    def welcomed(link)
      welcome = link.connection.welcome
      @backoffs.delete(link.path)
      logger.info("serving frontend #{Connection.for_people(welcome.dig('frontend', 'id'))}")
      @on_welcome&.call(welcome)
    rescue StandardError => error
      logger.error("on_welcome: #{error.message}")
    end

    def flush(link)
      return if link.gone

      link.out << link.connection.take
      until link.out.empty?
        count = link.socket.write_nonblock(link.out, exception: false)
        return if count == :wait_writable

        link.out.slice!(0, count)
      end
      lost(link) if link.connection.closed?
    rescue SystemCallError => error
      lost(link, error.message)
    end

    def lost(link, reason = nil)
      link.gone = true
      link.connection.lost(reason)
      link.socket.close
    end

    def forget(link)
      @links.delete(link.path)
      return if @stopping.positive?

      connection = link.connection
      backoff = @backoffs.delete(link.path)
      @due[link.path] = { backoff: connection.welcome || !backoff ? SHORTEST_BACKOFF : backoff, at: 0 }
      retry_ms = (connection.rejected || {})["retry_ms"]
      dial_later(link.path, Wire.integer?(retry_ms, 0) ? retry_ms / 1000.0 : 0)
      logger.warn("#{link.path}: connection lost (#{connection.close_reason}); dialling again")
    end

    # Events

    def start(link, event)
      event.sender_of_progress = lambda do |message|
        later do
          link.connection.progress(message)
          link
        end
      end
      return link.connection.fail(event, "cancelled", false, event.cancel_reason) if event.cancelled?

      job = Job.new(link, event)
      @running[event] = job
      @jobs << job
      @threads.select!(&:alive?) # a handler may end its thread
      @threads << Thread.new { work while true } if @threads.size < [@running.size, [concurrency, 1].max].min
    end

    # A thread's next event.
    def work
      Thread.handle_interrupt(Overdue => :never) do
        job = @jobs.pop
        event = job.event
        outcome = ->(connection) { failed(connection, job, RuntimeError.new("the handler ended its thread")) }
        begin
          if event.cancelled?
            outcome = ->(connection) { connection.fail(event, "cancelled", false, event.cancel_reason) }
          else
            verdict = job.run { ask(event) { |handler| job.plugin = handler.plugin } }
            outcome = ->(connection) { answered(connection, job, verdict) }
          end
        rescue Exception => error # rubocop:disable Lint/RescueException -- `exit` in a handler cannot end the worker
          outcome = ->(connection) { failed(connection, job, error) }
        ensure
          later do
            @running.delete(event)
            outcome.call(job.link.connection)
            job.link
          end
        end
      end
    end

    def answered(connection, job, verdict)
      return overdue(connection, job) if job.overdue

      connection.answer(job.event, verdict)
    end

    def overdue(connection, job)
      event = job.event
      text = "#{event.hook} took longer than #{event.raw['deadline_ms']} ms"
      logger.error("#{job.plugin} at #{event.hook} #{event.key}: #{text}")
      connection.fail(event, "deadline", true, text, job.plugin)
    end

    def failed(connection, job, error)
      return overdue(connection, job) if job.overdue

      event = job.event
      text = error.message.empty? ? error.class.name : error.message
      place = error.backtrace&.first
      logger.error(Connection.for_people("#{job.plugin} at #{event.hook} #{event.key}: #{error.class}: #{text} (#{place})"))
      connection.fail(event, "exception", true, text, job.plugin)
    end

    # Ends handlers whose time is over, and connections without a welcome.
    def look_at_time
      @running.each_value.to_a.each do |job|
        next if job.event.handler_seconds.positive?

        job.event.cancel("deadline") unless job.event.cancelled?
        job.overdue = true
        job.interrupt # again and again, if the handler catches it
      end
      @links.each_value do |link|
        next if link.gone || link.connection.welcome || link.connection.closed? || Event.now < link.began + WELCOME

        link.connection.leave("timeout")
        flush(link)
      end
    end

    # Notifications: in order, one at a time, and never in the way of events

    def notify(event)
      return @notifications << event if @notifications.size < MOST_NOTIFICATIONS

      @dropped_notifications += 1
    end

    def tell
      event = @notifications.pop
      handlers(event.hook).each do |handler|
        handler.call(event)
      rescue Exception => error # rubocop:disable Lint/RescueException -- as with events
        logger.error(Connection.for_people("#{handler.plugin} at #{event.hook}: #{error.class}: #{error.message}"))
      end
    end

    # The end

    def leave
      logger.info("draining")
      stop_at = Event.now + @drain_timeout
      @links.each_value do |link|
        link.connection.drain
        flush(link)
      end
      @links.delete_if { |_, link| link.gone }
      turn([stop_at - Event.now, 0.5].min) while !@links.empty? && Event.now < stop_at
    end

    def finish
      (@links || {}).each_value do |link|
        link.connection.leave
        flush(link)
        link.socket.close unless link.gone
      end
      [@notifier, *@threads].compact.each(&:kill)
      @links = nil
    end
  end
end
