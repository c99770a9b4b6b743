# frozen_string_literal: true

require "tmpdir"
require_relative "helper"

# Lines, octets, header values and control files.
class PartsTest < Minitest::Test
  Wire = Gatepost::Wire

  def test_lines_that_are_none
    ['{"a":1,"\u0061":2}', '{"a":01}', '{"a":1.}', '{"a":.5}', '{"a":+1}', '{"a":"\ud800"}', '{"a":"\udc00\ud800"}', '{"a":1e999}',
     '{"a":9007199254740992}', '{"a":NaN}', '{"a":Infinity}', "{'a':1}", '{"a":1,}', '{"a":[1,]}', '{a:1}', '[]', '"x"', "null", "",
     "{} {}", '{"a":/* */1}', "\uFEFF{}", "{\"a\":\"\t\"}", '{"\u0000":1}', '{"a":tru}', "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}",
     "#{'{"a":' * 33}1#{'}' * 33}", "{\"a\":\u00a01}", '{"a":"\x"}', '{"a":"', "{\v}"].each do |line|
      error = assert_raises(Gatepost::ProtocolError, line) { Wire.parse_line(line) }
      assert_equal "bad_frame", error.code
    end
  end

  def test_lines_that_are_sound
    assert_equal({ "a" => [1, 1.0, -0.5, 1e3, true, nil, "x\u{1f600}é\"\n"] },
                 Wire.parse_line(" {\t\"a\" : [1,1.0,-0.5,1e3,true,null,\"x\\ud83d\\ude00\\u00e9\\\"\\n\"] }\r\n"))
    assert_equal "1.0", Wire.parse_line('{"a":1.0}')["a"].inspect
    assert_equal 9_007_199_254_740_991, Wire.parse_line('{"a":9007199254740991}')["a"]
    assert Wire.parse_line("#{'{"a":' * 32}1#{'}' * 32}")
  end

  def test_every_value_comes_back
    random = Random.new(7)
    letters = ["a", "\"", "\\", "\n", "\u0001", "é", "\u{1f600}", "\u2028", "\u007f"]
    make = lambda do |depth|
      case random.rand(depth > 4 ? 5 : 7)
      when 0 then random.rand(-1000..1000)
      when 1 then random.rand
      when 2 then [true, false, nil].sample(random: random)
      when 3, 4 then Array.new(random.rand(6)) { letters.sample(random: random) }.join
      when 5 then Array.new(random.rand(4)) { make.call(depth + 1) }
      else Array.new(random.rand(4)) { |index| ["k#{index}#{letters.sample(random: random)}", make.call(depth + 1)] }.to_h
      end
    end
    300.times do
      message = { "value" => make.call(0) }
      assert_equal message, Wire.parse_line(Wire.encode_line(message))
    end
  end

  def test_damage_gives_an_error_and_nothing_else
    random = Random.new(11)
    line = Wire.encode_line("type" => "event", "id" => 1, "list" => [1.5, "é\n", { "b64" => "AA==" }], "x" => nil).b
    2000.times do
      broken = line.dup
      random.rand(1..3).times { broken.setbyte(random.rand(broken.bytesize), random.rand(256)) }
      begin
        assert_kind_of Hash, Wire.parse_line(broken)
      rescue Gatepost::ProtocolError => error
        assert_equal "bad_frame", error.code
      end
    end
  end

  def test_values_that_are_not_written
    deep = []
    deep << deep
    [Float::NAN, Float::INFINITY, 2**53, Object.new, "\xff", { 1 => 2 }, { "a" => 1, a: 2 }, { "\0" => 1 }, deep, Time.now,
     { "\u00e9" => 1, "e\u0301" => 2 }].each do |value|
      assert_raises(ArgumentError, TypeError, value.class.name) { Wire.encode_line("x" => value) }
    end
  end

  def test_bytes_have_two_forms
    assert_equal "é", Wire.from_octets("é".b)
    assert_equal "é", Wire.from_octets("\xe9".dup.force_encoding(Encoding::ISO_8859_1))
    assert_equal({ "b64" => "/w==" }, Wire.from_octets("\xff"))
    assert_equal({ "b64" => "AA==" }, Wire.from_octets("\0"))
    assert_equal "\xff".b, Wire.to_octets("b64" => "/w==")
    assert_equal [Encoding::UTF_8, Encoding::BINARY], [{ "b64" => "YQ==" }, { "b64" => "/w==" }].map { |each| Wire.to_text(each).encoding }
    [{ "b64" => "/x==" }, { "b64" => "/w" }, { "b64" => "/w==\n" }, { "b64" => 1 }, { "b64" => "", "x" => 1 }, {}, 1, nil].each do |value|
      assert_raises(ArgumentError, value.inspect) { Wire.to_octets(value) }
    end
  end

  def test_frames
    decoder = Gatepost::FrameDecoder.new(8)
    assert_equal %w[ab c], decoder.feed("ab\nc\nde")
    assert_equal ["def", ""], decoder.feed("f\n\n")
    assert_equal ["1234567"], decoder.feed("1234567\n12345678\nx\n")
    assert_equal "frame_too_long", decoder.broken.code
    assert_empty decoder.feed("x\n")
  end

  def legal(value, name = 1, utf8: false)
    Gatepost::HeaderValue.legal(value, name, utf8)
  end

  def test_header_values
    assert_equal "=?UTF-8?Q?caf=C3=A9?=", legal("café")
    assert_equal "café".b, legal("café", utf8: true)
    assert_equal "a =?UTF-8?Q?=C3=A9_=C3=A9?= b", legal("a é é b")
    assert_equal " =?unknown-8bit?Q?=FF?=\t", legal(" \xff\t".b)
    assert_equal "ab\r\n c", legal("a\nb\0\r\n c")
    assert_equal "a b", legal("a\r\n b".sub("\r\n", "\n"))
    assert_equal "a \r\n b", legal("a\r\n \r\n b")
    assert_equal "x" * 995, legal("x" * 995)
    [["x " * 1000] * 2, ["x" * 3000, "x" * 3000], ["é" * 2000, nil], ["\t#{'y' * 1200}", nil]].each do |value, plain|
      folded = legal(value, 3)
      assert_operator folded.split("\r\n").map(&:bytesize).max, :<=, 998
      assert(folded.split("\r\n").drop(1).all? { |line| line.match?(/\A[ \t][^ \t]/n) })
      assert_equal plain.delete(" "), folded.delete("\r\n ") if plain
      action = { "op" => "header.add", "name" => "abc", "value" => Gatepost::Wire.from_octets(folded) }
      event = { "hook" => "data_post", "args" => {}, "transaction" => { "headers" => [] } }
      assert_nil Gatepost.check(event, { "verdict" => "declined", "actions" => [action] })
    end
  end

  # What the author's log says.
  class Log
    attr_reader :lines

    def initialize
      @lines = []
    end

    def error(text) = @lines << text
    alias info error
    alias warn error
  end

  def test_control_files
    Dir.mktmpdir do |folder|
      log = Log.new
      file = Gatepost::ControlFile.new("left", directories: ["#{folder}/none", folder], logger: log)
      assert_equal [[], false], [file.lines, file.exist?]
      File.binwrite("#{folder}/more", "three\n")
      File.binwrite("#{folder}/left", "\xEF\xBB\xBF# no\n\n  One two \r\n$include more\n\t# no\nlast")
      assert_equal [["One two", "three", "last"], true], [file.lines, file.exist?]
      assert_equal %w[One three last], file.words
      assert file.include?("ONE")
      refute file.include?("two")
      File.binwrite("#{folder}/more", "three\nfour\n")
      assert_equal ["One two", "three", "four", "last"], file.lines
      ["$include ../x\n", "$include absent\n", "$include\n", "\xff\n", "$include left\n"].each do |broken|
        File.binwrite("#{folder}/left", "new\n#{broken}".b)
        before = log.lines.size
        assert_equal ["One two", "three", "four", "last"], file.lines, broken
        file.lines
        assert_equal 1, log.lines.size - before, broken
      end
      File.delete("#{folder}/left")
      assert_empty file.lines
    end
  end

  def test_a_violation_is_logged_and_not_answered
    log = []
    worker = Gatepost::Worker.new("v").rcpt { nil }
    assert_equal true, worker.hello["violations"]
    connection = Gatepost::Connection.new(worker.hello) { |text| log << text }
    connection.receive("{\"type\":\"welcome\",\"protocol\":1,\"max_frame\":65536}\n")
    connection.take
    connection.receive(%({"type":"violation","id":1,"hook":"rcpt","plugin":"x","violation":"reply_text","message":"reply.text[0]: no"}\n))
    assert_equal ["the frontend did not take the answer to event 1: x at rcpt: reply_text: reply.text[0]: no"], log
    assert_empty connection.take
    connection.receive(%({"type":"violation","id":1}\n))
    assert_match(/bad_message/, connection.take)
  end

  def test_extensions_are_those_that_all_handlers_keep
    worker = Gatepost::Worker.new("q").queue(extensions: %w[FUTURERELEASE MT-PRIORITY]) { nil }
    assert_equal %w[FUTURERELEASE MT-PRIORITY], worker.hello["extensions"]
    assert_equal ["FUTURERELEASE"], worker.queue(extensions: "FUTURERELEASE") { nil }.hello["extensions"]
    refute worker.queue { nil }.hello.key?("extensions")
  end
end
