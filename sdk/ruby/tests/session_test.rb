# frozen_string_literal: true

ENV["GATEPOST_GREYLIST_SECONDS"] = "0"
require_relative "helper"
require_relative "../examples/policy"

# Handlers, asked without a server.
class SessionTest < Minitest::Test
  V = Gatepost::Verdicts

  def session(hook = "rcpt", plugin: "mark", **options, &block)
    Gatepost::TestSession.new(Gatepost::Worker.new("x").hook(hook, plugin, **options, &block))
  end

  # The text of the failure.
  def wrong(hook = "rcpt", **options, &block)
    tested = session(hook, **options, &block)
    asked = -> { hook == "rcpt" ? tested.rcpt("a@example.org") : tested.message("A: 1\n\nx\n") }
    assert_raises(Gatepost::InvalidVerdictError, &asked).message
  end

  def test_the_policy_of_every_language
    session = Gatepost::TestSession.new(POLICY)
    assert_predicate session.connect, :declined?
    session.mail("bob@example.net")
    verdict = session.rcpt("EVE@example.com")
    assert_equal [:deny, 550, "5.1.6", ["eve has left"]], [verdict.word, verdict.code, verdict.status, verdict.text]
    assert_equal 450, session.rcpt("jo@example.com").code
    assert_predicate session.rcpt("jo@example.com"), :declined?
    assert_predicate session.rcpt("old@example.com"), :declined?
    assert_equal %w[jo@example.com new@example.com], session.recipients
    assert_equal 554, session.message("Subject: x\n\na forbidden phrase\n").code
    assert_equal 554, session.message("Subject: x\n\n#{'x' * 65_530}forbidden phrase\n").code
    assert_nil session.header("X-Policy")
    assert_predicate session.message("Subject: forbidden phrase\n\nbody\n"), :declined?
    assert_equal "ruby", session.header("X-Policy")
    assert_equal "bob@example.net", session.sender
    assert_predicate session.queue, :declined?
  end

  def test_an_invalid_verdict_is_a_failure_that_names_the_rule
    assert_equal 'mark at rcpt: reply_text: reply.text[0]: "é": not ASCII, and the session has no SMTPUTF8', wrong { V.deny("é") }
    assert_match(/\Amark at rcpt: reply_text: reply\.text\[0\]: "a\\u0007": a control/, wrong { V.deny("a\a") })
    assert_match(/reply_code: reply\.code: 250: not for deny at rcpt/, wrong { V.deny("x", code: 250) })
    assert_match(/reply_malformed: reply\.code: "550"/, wrong { V.deny("x", code: "550") })
    assert_match(/reply_malformed: reply\.text: \[5\]/, wrong { V.deny(5) })
    assert_match(/reply_text: .*not UTF-8/, wrong { V.deny("\xff") })
    assert_match(/action_not_allowed: actions\[0\]\.op: "header\.add"/, wrong { |event| event.add_header("X", "y") })
    assert_match(/header_name: actions\[0\]\.name: "a b"/, wrong("data_post") { |event| event.add_header("a b", "y") })
    assert_match(/a NaN|NaN is no finite/, wrong { |event| event.session_notes["x"] = Float::NAN })
    assert_match(/notes have String keys, not :x/, wrong { |event| event.session_notes[:x] = 1 })
    assert_match(/a Object is not JSON/, wrong { |event| event.session_notes["x"] = Object.new })
    assert_match(/file_refused: absent/, wrong("data_post") { |event| event.replace_message("absent") })
  end

  def test_what_a_handler_raises_comes_out
    assert_raises(ZeroDivisionError) { session { 1 / 0 }.rcpt("a@example.org") }
    assert_match(/needs: \[:recipients\]/, assert_raises(Gatepost::MissingPart) { session(&:recipients).rcpt("a@example.org") }.message)
    assert_raises(TypeError) { session { :deny }.rcpt("a@example.org") }
    assert_raises(TypeError) { session { ["deny", "x"] }.rcpt("a@example.org") }
    assert_raises(ArgumentError) { Gatepost::Verdict.new("denied") }
    raw = { "hook" => "data", "args" => {}, "elided" => ["recipients"], "transaction" => {} }
    assert_match(/too large/, assert_raises(Gatepost::MissingPart) { Gatepost::Event.new(raw).recipients }.message)
  end

  def test_any_other_value_is_no_decision
    [1, nil, false, "text", [1], {}].each { |value| assert_predicate session { value }.rcpt("a@example.org"), :declined? }
  end

  def test_return_and_next_end_a_block
    assert_equal :deny, session { |event| return V.deny("x") if event }.rcpt("a@example.org").word
    assert_equal :deny, session { |event| next V.deny("x") if event }.rcpt("a@example.org").word
    @mine = :deny_disconnect
    assert_equal :deny_disconnect, session { Gatepost::Verdict.new(@mine) }.rcpt("a@example.org").word
  end

  def decide(event) = V.deny(event.hook)

  def test_a_handler_may_be_anything_that_responds_to_call
    callable = Class.new { def call(event) = Gatepost::Verdicts.denysoft(event.hook) }.new
    worker = Gatepost::Worker.new("x").helo(callable).ehlo(method(:decide)).mail(->(event) { Gatepost::Verdicts.ok(event.hook) })
    session = Gatepost::TestSession.new(worker)
    assert_equal %i[denysoft deny ok], [session.helo.word, session.ehlo.word, session.mail.word]
    assert_equal %w[helo decide mail], worker.hello["plugins"]
  end

  def test_mistakes_at_registration
    worker = Gatepost::Worker.new("x")
    [-> { worker.hook(:nothing) { 1 } }, -> { worker.rcpt(needs: [:body]) { 1 } }, -> { worker.rcpt }, -> { worker.rcpt(:name) },
     -> { worker.rcpt(extensions: ["X"]) { 1 } }, -> { worker.data(observe: true) { 1 }.data { 1 } },
     -> { Gatepost::Worker.new("a b") }, -> { Gatepost::Worker.new("x", pool: "../x") }].each do |mistake|
      assert_raises(ArgumentError, &mistake)
    end
  end

  def test_notes_go_from_handler_to_handler
    worker = Gatepost::Worker.new("n")
    worker.rcpt do |event|
      event.session_notes["asked"] = event.session_notes.fetch("asked", 0) + 1
      (event.transaction_notes["list"] ||= []) << "é"
      V.declined(notes: { session: { karma: { spf: 2, gone: nil } } })
    end
    worker.rcpt { |event| V.denysoft("twice", notes: { session: { late: true } }) if event.session_notes["asked"] > 1 }
    session = Gatepost::TestSession.new(worker)
    assert_predicate session.rcpt("a@example.org"), :declined?
    assert_equal :denysoft, session.rcpt("b@example.org").word
    assert_equal({ "asked" => 2, "karma" => { "spf" => 2 }, "late" => true }, session.notes)
    assert_equal({ "list" => %w[é é] }, session.transaction_notes)
    assert_equal ["a@example.org"], session.recipients
  end

  def test_a_patch_says_only_what_changed
    before = { "a" => 1, "b" => { "c" => 1, "d" => 2 }, "e" => 1, "f" => nil }
    assert_equal({ "b" => { "d" => nil, "x" => 1 }, "e" => nil, "g" => 1.0 },
                 Gatepost::Event.patch(before, { "a" => 1, "b" => { "c" => 1, "x" => 1 }, "f" => nil, "g" => 1.0 }))
    assert_equal({ "a" => 1.0 }, Gatepost::Event.patch({ "a" => 1 }, { "a" => 1.0 }))
  end

  def test_the_message_is_one_stream
    seen = nil
    needs = %i[headers message]
    session("data_post", needs: needs) { |event| seen = event.open_message(&:read) }.message("A: 1\nB: 2\n 3\n\nbody\n")
    assert_equal "A: 1\r\nB: 2\r\n 3\r\n\r\nbody\r\n", seen
    session("data_post", needs: needs) { |event| seen = event.open_message(&:to_a) }.message("A: 1\n\nb1\nb2")
    assert_equal ["A: 1\r\n", "\r\n", "b1\r\n", "b2"], seen
    session("data_post", needs: needs) { |event| seen = event.open_body(&:read) }.message("\nbody\n")
    assert_equal "body\r\n", seen
    pieces = session("data_post", needs: needs) do |event|
      event.open_message { |io| seen = [io.read(3), io.read(3), io.gets(2), io.gets, io.eof?, io.read, io.read(1), io.read, io.eof?] }
    end
    pieces.message("A: 1\n\nbody\n")
    assert_equal ["A: ", "1\r\n", "\r\n", "body\r\n", true, "", nil, "", true], seen
  end

  def test_another_message_in_its_place
    tested = session("data_post", needs: %i[headers message]) do |event|
      event.delete_header(event.headers.first.id)
      path = event.new_message_path
      File.binwrite(path, "Old: x\r\nNew: y\r\n\r\nbody\r\n")
      event.replace_message(path)
      event.set_header(event.headers.last.id, "z")
    end
    tested.message("Old: 1\nNew: 2\n\nbody\n")
    assert_equal [%w[New z]], tested.headers
    assert_equal "New: z\r\n\r\nbody\r\n", tested.message_octets
  end

  def test_every_action
    worker = Gatepost::Worker.new("a")
    worker.connect do |event|
      event.set_relay
      event.set_client_name("mail.example.net")
      event.delay_reply(250)
    end
    worker.auth { |event| event.step == 1 ? event.challenge("c\xff", state: "s") : V.ok }
    worker.data_post(needs: %i[recipients headers]) do |event|
      event.add_header("X-Last", "caf\u00e9", at: :bottom)
      event.delete_headers("gone")
      event.add_recipient("c@example.org")
      event.remove_recipient(event.recipients[0])
      event.replace_recipient(event.recipients[1], "B@EXAMPLE.org")
      event.replace_sender("")
      event.set_header(event.headers[0].id, "new")
    end
    worker.queue { |event| event.refuse_recipient(2, V.denysoft("later")) }
    session = Gatepost::TestSession.new(worker)
    session.connect
    assert_equal [true, "mail.example.net", 250], [session.relay, session.client_name, session.delay_ms]
    assert_equal :done, session.auth("jo", mechanism: "X", step: 1).word
    assert_equal ["c\xff".b, "s"], session.last_challenge
    session.mail("s@example.org")
    session.rcpt("a@example.org")
    session.rcpt("b@example.org")
    session.message("Subject: x\nGone: y\n\nbody\n")
    assert_equal [%w[Subject new], ["X-Last", "=?UTF-8?Q?caf=C3=A9?="]], session.headers
    assert_equal ["B@EXAMPLE.org", "c@example.org", ""], [*session.recipients, session.sender]
    session.queue
    assert_equal [["B@EXAMPLE.org", "denysoft"]], session.refused_recipients
  end

  def test_octets_that_are_no_text_harm_no_handler
    seen = nil
    tested = session { |event| seen = [event.recipient.local.downcase, event.recipient.to_s] && event.recipient.address }
    tested.rcpt("\xFFa@example.org".b)
    assert_equal "\xFFa@example.org".b, seen
    assert_equal Encoding::UTF_8, (session { |event| seen = event.recipient.address }.rcpt("é@example.org") && seen.encoding)
  end

  def test_notifications
    told = []
    worker = Gatepost::Worker.new("t").disconnect { |event| told << event.args["reason"] }.rcpt(observe: true) { V.deny("x") }
    session = Gatepost::TestSession.new(worker)
    assert_predicate session.rcpt("a@example.org"), :declined?
    session.disconnect
    assert_equal ["quit"], told
  end
end
