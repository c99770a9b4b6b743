package wire

import (
	"errors"
	"math"
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

func TestLinesThatAreNoMessages(t *testing.T) {
	for _, line := range []string{
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"b":[{"a":1,"a":2}]}`, `{"a\u0000":1}`, `{"a":"\ud800"}`, `{"\udc00":1}`, `{"a":"\ud800\ud800"}`,
		`{"a":"\ud800x"}`, `[]`, `null`, `7`, `"x"`, `{}x`, `{}{}`, ``, ` `, `{`, `{"a"`, `{"a":9007199254740992}`, `{"a":-9007199254740992}`,
		`{"a":1e400}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":01}`, `{"a":1.}`, `{"a":+1}`, "\ufeff{}", "{\"a\":\"\t\"}", `{"a":1,}`, `{'a':1}`,
		strings.Repeat("[", 33), `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, "{\"\xff\":1}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xc0\xaf\"}",
	} {
		var fault *ProtocolError
		if message, err := ParseLine([]byte(line)); !errors.As(err, &fault) || fault.Code != "bad_frame" {
			t.Errorf("%q: %v %v", line, message, err)
		}
	}
}

func TestMessages(t *testing.T) {
	got, err := ParseLine([]byte(" {\"a\\\\\":\"\\\\\\\"\\/\\b\\f\\n\\r\\t\",\"b\":{\"a\":1},\"c\":[{\"a\":2},{\"a\":-0}],\"\\u00e9\":\"\\ud83d\\ude00\",\"d\":[1.0,1e2,-9007199254740991,true,false,null]}\r\n"))
	expected := map[string]any{
		"a\\": "\\\"/\b\f\n\r\t", "b": map[string]any{"a": int64(1)}, "c": []any{map[string]any{"a": int64(2)}, map[string]any{"a": int64(0)}},
		"é": "😀", "d": []any{1.0, 100.0, int64(-9007199254740991), true, false, nil},
	}
	if err != nil || !reflect.DeepEqual(got, expected) {
		t.Errorf("%v %v", got, err)
	}
	if again, err := ParseLine(EncodeLine(got)); err != nil || again["é"] != "😀" {
		t.Error(again, err)
	}
	if _, err := ParseLine([]byte(`{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`)); err != nil {
		t.Error(err)
	}
}

// Whatever the line is, there is a message that comes back as it was, or a ProtocolError.
func TestRandomDamage(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	whole := []byte(`{"type":"event","id":1,"a":[1.5,-2e3,{"\u00e9\n":"\ud83d\ude00"}],"b":null,"c":{"d":true,"e":"x"}}`)
	for round := 0; round < 20_000; round++ {
		line := append([]byte(nil), whole...)
		for change := 0; change <= random.Intn(3); change++ {
			line[random.Intn(len(line))] = byte(random.Intn(256))
		}
		line = line[:len(line)-random.Intn(2)*random.Intn(len(line))]
		message, err := ParseLine(line)
		if err != nil {
			continue
		}
		again, err := ParseLine(EncodeLine(message))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if len(again) != len(message) {
			t.Fatalf("%q", line)
		}
	}
}

func TestFramesInAnyPieces(t *testing.T) {
	whole := []byte("a\n\nbcd\nefgh\nijkl")
	for size := 1; size <= len(whole); size++ {
		frames := FrameDecoder{MaxFrame: 5}
		var lines []string
		for at := 0; at < len(whole); at += size {
			for _, line := range frames.Feed(whole[at:min(at+size, len(whole))]) {
				lines = append(lines, string(line))
			}
		}
		if !reflect.DeepEqual(lines, []string{"a", "", "bcd", "efgh"}) || frames.Broken != nil {
			t.Error(size, lines, frames.Broken)
		}
		if frames.Feed([]byte("m")); frames.Broken == nil || frames.Broken.(*ProtocolError).Code != "frame_too_long" {
			t.Error(size, frames.Broken)
		}
	}
}

func TestBytes(t *testing.T) {
	for octets, field := range map[string]any{
		"é": "é", "": "", "\xff\x00": map[string]any{"b64": "/wA="}, "a\x00": map[string]any{"b64": "YQA="}, "\ufffd": "\ufffd",
	} {
		if made := Field(octets); !reflect.DeepEqual(made, field) {
			t.Errorf("%q: %v", octets, made)
		}
		if back, err := Octets(field); back != octets || err != nil {
			t.Errorf("%q: %q %v", octets, back, err)
		}
	}
	for _, field := range []any{
		map[string]any{"b64": "YQ"}, map[string]any{"b64": "YR=="}, map[string]any{"b64": "*"}, map[string]any{"b64": "YQ==\n"},
		map[string]any{"b64": "YQ==", "x": int64(1)}, int64(7), nil, []any{},
	} {
		if octets, err := Octets(field); err == nil {
			t.Errorf("%v: %q", field, octets)
		}
	}
}

func TestPlain(t *testing.T) {
	type inner struct {
		A int `json:"a"`
	}
	type word string
	made, err := Plain(map[word]any{"x": []int{1, 2}, "y": inner{3}, "z": uint8(4), "w": word("v"), "p": &[]string{"q"}, "n": (*int)(nil), "f": float32(0.5)}, "notes")
	expected := map[string]any{
		"x": []any{int64(1), int64(2)}, "y": map[string]any{"a": int64(3)}, "z": int64(4), "w": "v", "p": []any{"q"}, "n": nil, "f": 0.5,
	}
	if err != nil || !reflect.DeepEqual(made, expected) {
		t.Error(made, err)
	}
	endless := map[string]any{}
	endless["x"] = endless
	for text, value := range map[string]any{
		"notes.f: func() is not JSON": map[string]any{"f": func() {}}, "notes.f: NaN is not JSON": map[string]any{"f": math.NaN()},
		"notes.a[1]: not UTF-8": map[string]any{"a": []string{"", "\xff"}}, "notes.n: 9007199254740992 is beyond 2^53-1": map[string]any{"n": 1 << 53},
		"notes.n: 1e+300 is beyond 2^53-1": map[string]any{"n": 1e300},
	} {
		if made, err := Plain(value, "notes"); err == nil || err.Error() != text {
			t.Error(text, made, err)
		}
	}
	if _, err := Plain(endless, "notes"); err == nil {
		t.Error("endless")
	}
}

func TestCanonical(t *testing.T) {
	for _, row := range [][2]string{
		{"é", "e\u0301"}, {"ẹ́", "e\u0301\u0323"}, {"각", "\u1100\u1161\u11a8"}, {"가", "\u1100\u1161"}, {"Å", "\u212b"}, {"q\u0323\u0307", "q\u0307\u0323"},
	} {
		if Canonical(row[0]) != Canonical(row[1]) {
			t.Errorf("%q %q", Canonical(row[0]), Canonical(row[1]))
		}
	}
	for _, row := range [][2]string{{"e", "é"}, {"ﬁ", "fi"}, {"a\u0301\u0302", "a\u0302\u0301"}} {
		if Canonical(row[0]) == Canonical(row[1]) {
			t.Errorf("%q", row)
		}
	}
}
