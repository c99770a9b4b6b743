# frozen_string_literal: true

require "socket"
require "tmpdir"
require_relative "helper"

# The socket loop, with frontends that the test plays. Each wait has a deadline; nothing sleeps.
class WorkerTest < Minitest::Test
  WAIT = 10

  # One connection of a worker, at the frontend's end.
  class Peer
    attr_reader :hello

    def initialize(socket)
      @socket = socket
      @rest = +""
      @hello = line
    end

    def line
      until @rest.include?("\n")
        raise "no line within #{WAIT} s" unless @socket.wait_readable(WAIT)

        @rest << @socket.readpartial(65_536)
      end
      Gatepost::Wire.parse_line(@rest.slice!(/.*?\n/m))
    rescue EOFError, Errno::ECONNRESET
      nil
    end

    def say(message)
      @socket.write(Gatepost::Wire.encode_line(message))
      self
    end

    def welcome(concurrency: 4, id: "mx1")
      say("type" => "welcome", "protocol" => 1, "frontend" => { "id" => id }, "max_frame" => 1_048_576,
          "concurrency" => concurrency, "spool" => "/nowhere")
    end

    def event(id, hook = "rcpt", deadline_ms: 10_000, **more)
      say("type" => "event", "id" => id, "hook" => hook, "key" => "k#{id}", "attempt" => 1, "deadline_ms" => deadline_ms,
          "session" => { "client" => { "ip" => "192.0.2.1", "name" => nil } }, "notes" => { "session" => {}, "transaction" => {} },
          "args" => { "recipient" => { "id" => 1, "address" => "a@example.org", "local" => "a", "domain" => "example.org", "params" => [] } },
          "transaction" => { "id" => "t", "sender" => nil, "recipient_count" => 0 }, **more.transform_keys(&:to_s))
    end

    def close = @socket.close
  end

  Log = Struct.new(:lines) do
    %w[info warn error].each { |level| define_method(level) { |text| lines << "#{level}: #{text}" } }
  end

  def setup
    @folder = Dir.mktmpdir
    FileUtils.mkdir_p("#{@folder}/pools/policy")
    @log = Log.new(Thread::Queue.new)
    @listeners = {}
  end

  def teardown
    if @thread
      @worker.stop
      @peers.each(&:close)
      flunk "the worker did not end" unless @thread.join(WAIT)
    end
    FileUtils.rm_rf(@folder)
  end

  def listen(name = "mx1")
    @listeners[name] = UNIXServer.new("#{@folder}/pools/policy/#{name}.sock")
  end

  def accepted(name = "mx1")
    raise "nobody dials within #{WAIT} s" unless @listeners[name].wait_readable(WAIT)

    peer = Peer.new(@listeners[name].accept)
    (@peers ||= []) << peer
    peer
  end

  def start(**options)
    @worker = Gatepost::Worker.new("w", runtime_directory: @folder, look_every: 0.05, logger: @log, **options)
    yield @worker
    @thread = Thread.new { @worker.serve }
  end

  def test_frontends_come_and_go
    listen
    start { |worker| worker.rcpt { nil } }
    first = accepted
    assert_equal %w[hello policy], first.hello.values_at("type", "pool")
    first.welcome.event(1)
    assert_equal ["verdict", 1, "declined"], first.line.values_at("type", "id", "verdict")
    listen("mx2")
    second = accepted("mx2").welcome(id: "mx2").event(1)
    assert_equal "declined", second.line["verdict"]
    first.say("type" => "event", "id" => 3)
    assert_equal %w[bye bad_message], first.line.values_at("type", "code")
    assert_nil first.line
    again = accepted
    again.say("type" => "reject", "code" => "pool_full", "message" => "x", "retry_ms" => 1)
    again = accepted.welcome.event(1)
    assert_equal "declined", again.line["verdict"]
    second.event(2)
    assert_equal "declined", second.line["verdict"]
  end

  def test_events_run_beside_each_other_and_pings_do_not_wait
    listen
    gate = Thread::Queue.new
    start { |worker| worker.rcpt { |event| event.id == 1 ? gate.pop : nil } }
    peer = accepted.welcome.event(1).event(2)
    assert_equal 2, peer.line["id"]
    peer.say("type" => "ping", "n" => 7)
    assert_equal 7, peer.line["n"]
    gate << Gatepost::Verdicts.deny("x")
    assert_equal [1, "deny"], peer.line.values_at("id", "verdict")
  end

  def test_a_handler_hears_of_cancel_and_one_that_waits_never_begins
    listen
    begun = Thread::Queue.new
    start(concurrency: 1) do |worker|
      worker.rcpt do |event|
        begun << event.id
        event.wait_cancelled(WAIT)
        Gatepost::Verdicts.denysoft(event.cancel_reason)
      end
    end
    peer = accepted.welcome.event(1).event(2)
    assert_equal 1, begun.pop
    peer.say("type" => "cancel", "id" => 2, "reason" => "client_gone").say("type" => "cancel", "id" => 1, "reason" => "client_gone")
    one, two = [peer.line, peer.line].sort_by { |line| line["id"] }
    assert_equal [1, "denysoft", { "text" => ["client_gone"] }], one.values_at("id", "verdict", "reply")
    assert_equal [2, "cancelled", false], two.values_at("id", "code", "started")
    assert_empty begun
  end

  def test_whatever_a_handler_does_there_is_one_answer
    listen
    start do |worker|
      worker.rcpt :mark do |event|
        case event.id
        when 1 then raise "database is locked"
        when 2 then exit
        when 3 then Gatepost::Verdicts.deny("é")
        when 4 then Thread.current.exit
        when 5 then event.session_notes["x"] = Object.new
        when 6 then :deny
        when 7 then throw :nothing
        when 8 then [].fetch(1)
        when 9 then raise Exception, "\xff" # rubocop:disable Lint/RaiseException
        end
      end
    end
    peer = accepted.welcome
    codes = (1..9).map { |id| peer.event(id).line }
    assert_equal (1..9).to_a, codes.map { |line| line["id"] }
    assert_equal %w[exception exception invalid_verdict exception invalid_verdict exception exception exception exception],
                 codes.map { |line| line["code"] }
    assert_equal ["database is locked", "mark", true], codes[0].values_at("message", "plugin", "started")
    assert_match(/\Amark at rcpt: reply_text: reply.text\[0\]: "é"/, codes[2]["message"])
    assert_equal "declined", peer.event(10).line["verdict"]
    logged = []
    logged << @log.lines.pop until @log.lines.empty?
    assert(logged.any? { |line| line.start_with?('error: mark at rcpt: reply_text: reply.text[0]: "é"') })
    assert(logged.any? { |line| line.include?("mark at rcpt k1: RuntimeError: database is locked") && line.include?("worker_test.rb:") })
  end

  def test_a_handler_that_takes_too_long_is_ended
    listen
    ensured = Thread::Queue.new
    start(concurrency: 2) do |worker|
      worker.rcpt :slow do |event|
        next event.progress(60_000) && nil if event.id == 4

        begin
          Thread::Queue.new.pop
        rescue StandardError
          flunk
        ensure
          ensured << event.id
        end
      end
      worker.mail :stubborn do |event|
        3.times do
          Thread::Queue.new.pop
        rescue Exception # rubocop:disable Lint/RescueException
          nil
        end
        event.id
      end
    end
    peer = accepted.welcome
    peer.event(1, deadline_ms: 50)
    assert_equal [1, "deadline", true, "slow"], peer.line.values_at("id", "code", "started", "plugin")
    assert_equal 1, ensured.pop
    peer.event(2, "mail", deadline_ms: 50)
    assert_equal [2, "deadline", "stubborn"], peer.line.values_at("id", "code", "plugin")
    peer.event(4, deadline_ms: 5000)
    assert_equal %w[progress verdict], [peer.line["type"], peer.line["type"]]
  end

  def test_notifications_are_in_order_and_hold_up_nothing
    listen
    gate = Thread::Queue.new
    told = Thread::Queue.new
    start { |worker| worker.rcpt { nil }.disconnect { |event| [gate.pop, told << event.args["reason"]] } }
    peer = accepted.welcome
    %w[quit error].each { |reason| peer.say("type" => "notify", "hook" => "disconnect", "session" => {}, "args" => { "reason" => reason }, "notes" => {}) }
    assert_equal "declined", peer.event(1).line["verdict"]
    2.times { gate << true }
    assert_equal %w[quit error], [told.pop, told.pop]
  end

  def test_a_drain_answers_what_crossed
    listen
    start { |worker| worker.rcpt { nil } }
    peer = accepted.welcome.event(1)
    peer.line
    @worker.stop
    assert_equal %w[drain stopping], peer.line.values_at("type", "reason")
    assert_equal "declined", peer.event(2).line["verdict"]
    peer.say("type" => "drain", "reason" => "requested")
    assert_equal %w[bye drained], peer.line.values_at("type", "code")
    assert_nil peer.line
    assert @thread.join(WAIT)
  end

  def test_a_frontend_that_drains_is_dialled_again
    listen
    start { |worker| worker.rcpt { nil } }
    peer = accepted.welcome.say("type" => "drain", "reason" => "shutdown")
    assert_equal %w[drain shutdown], peer.line.values_at("type", "reason")
    assert_equal "drained", peer.line["code"]
    assert_equal "hello", accepted.hello["type"]
  end

  def test_signals
    listen
    program = 'require "gatepost"; w = Gatepost::Worker.new("p"); w.rcpt { nil }; w.run'
    { true => [["drain", nil], 0], false => [["bye", "stopping"], 0] }.each do |welcomed, (said, status)|
      read, write = IO.pipe
      pid = spawn({ "GATEPOST_RUNTIME_DIRECTORY" => @folder }, RbConfig.ruby, "-I#{SDK}/lib", "-e", program, out: write, err: File::NULL)
      write.close
      peer = accepted
      if welcomed
        peer.welcome
        assert_equal "ready: worker p, pool policy, frontend mx1\n", read.gets
      end
      Process.kill("TERM", pid)
      assert_equal said, peer.line.values_at("type", "code")
      peer.say("type" => "drain") if welcomed
      assert_equal(%w[bye drained], peer.line.values_at("type", "code")) if welcomed
      assert_equal status, Process.wait2(pid)[1].exitstatus
      pid = nil
    ensure
      Process.kill("KILL", pid) && Process.wait(pid) if pid
    end
  end
end
