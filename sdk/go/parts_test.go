package gatepost

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestHeaderValues(t *testing.T) {
	for value, expected := range map[string]string{
		" plain": " plain", "": "", " a\r\n b\r\n\tc": " a\r\n b\r\n\tc", "\r\n\t\r\n\tvalue": "\t\r\n\tvalue",
		" [tag]\r\n \r\n\tvalue": " [tag] \r\n\tvalue", " a\x00b\rc\nd\r\n\x00 e\r\n": " abcd e",
		" Grüße": " =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", " an grüne Bäume hier": " an =?UTF-8?Q?gr=C3=BCne_B=C3=A4ume?= hier",
		" ä\r\n\tö x": " =?UTF-8?Q?=C3=A4=09=C3=B6?= x", " caf\xe9": " =?unknown-8bit?Q?caf=E9?=",
		" " + strings.Repeat("ß", 12):   " =?UTF-8?Q?" + strings.Repeat("=C3=9F", 10) + "?=\r\n =?UTF-8?Q?=C3=9F=C3=9F?=",
		" " + strings.Repeat("x", 990):  " " + strings.Repeat("x", 990),
		" " + strings.Repeat("x", 1200): " " + strings.Repeat("x", 992) + "\r\n " + strings.Repeat("x", 208),
		strings.Repeat(" word", 200): strings.Repeat(" word", 14) + strings.Repeat("\r\n"+strings.Repeat(" word", 15), 12) + "\r\n" +
			strings.Repeat(" word", 6),
	} {
		if got := legal(value, 4, false); got != expected {
			t.Errorf("%q: %q", value, got)
		}
	}
	if got := legal(" Grüße", 4, true); got != " Grüße" {
		t.Error(got)
	}
	for length := 1; length < 3000; length += 7 { // whatever it is, it may be sent
		for _, piece := range []string{"ä ", " x", "\t", "\r\n ", "yyyyyyyyyyyyy", "\x00\r"} {
			value := legal(strings.Repeat(piece, length/len(piece)+1), 4, false)
			if wrong := wrongInValue(value) + wrongOnLine(4, value, false); wrong != "" {
				t.Fatalf("%q × %d: %s", piece, length, wrong)
			}
		}
	}
}

func write(t *testing.T, content string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestControlFile(t *testing.T) {
	folder := t.TempDir()
	var told []string
	file, err := NewControlFile("rcpthosts", folder)
	if err != nil || file.IsPresent() || len(file.Lines()) != 0 || file.First() != "" {
		t.Fatal(err, file)
	}
	file.OnError = func(err error) { told = append(told, err.Error()) }
	write(t, "\ufeff# comment\n\n  a.example  # data\r\n$include  more\nB.example x\n", folder, "rcpthosts")
	file.Lines() // `more` is missing: the last good content
	if lines := file.Lines(); len(lines) != 0 || len(told) != 1 || !strings.Contains(told[0], "rcpthosts:4: $include more: no such file") {
		t.Error(lines, told)
	}
	if err := os.Mkdir(filepath.Join(folder, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "two\n", folder, "more", "2")
	write(t, "one\n", folder, "more", "1")
	if lines := file.Lines(); !reflect.DeepEqual(lines, []string{"a.example  # data", "one", "two", "B.example x"}) {
		t.Errorf("%q", lines)
	}
	if !file.Has("b.EXAMPLE") || file.Has("x") || file.First() != "a.example  # data" {
		t.Error(file.Words())
	}
	write(t, "changed one\n", folder, "more", "1")
	if words := file.Words(); !reflect.DeepEqual(words, []string{"a.example", "changed", "two", "B.example"}) {
		t.Error(words)
	}
	write(t, "$include rcpthosts\n", folder, "rcpthosts")
	if words := file.Words(); len(words) != 4 || len(told) != 2 || !strings.Contains(told[1], "includes itself") {
		t.Error(words, told)
	}
	for content, expected := range map[string]string{
		"$include ../x\n": "has .. in it", "$include\n": "without a name", "\xff\n": "not UTF-8",
	} {
		write(t, content, folder, "rcpthosts")
		if file.Lines(); !strings.Contains(told[len(told)-1], expected) {
			t.Error(told)
		}
	}
	if err := os.Remove(filepath.Join(folder, "rcpthosts")); err != nil || file.IsPresent() || len(file.Lines()) != 0 {
		t.Error(err, file.Lines())
	}
	if _, err := NewControlFile("../x", folder); err == nil {
		t.Error("..")
	}
	write(t, "7\n", folder, "number")
	parse := func(lines []string) (int, error) {
		if len(lines) == 0 {
			return 0, nil
		}
		return strconv.Atoi(lines[0])
	}
	number, err := NewParsedFile("number", parse, t.TempDir(), folder)
	if err != nil || number.Value() != 7 {
		t.Fatal(err)
	}
	number.OnError = file.OnError
	write(t, "seven\n", folder, "number")
	if number.Value() != 7 || !strings.Contains(told[len(told)-1], "seven") {
		t.Error(number.Value(), told)
	}
	if _, err := NewParsedFile("number", parse, folder); !errors.Is(err, strconv.ErrSyntax) {
		t.Error(err)
	}
}

// The README's commands, pasted, end with a plugin that refuses, and a test that passes; and fails if the plugin is wrong.
func TestREADME(t *testing.T) {
	octets, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(head string) string {
		found := regexp.MustCompile("(?ms)^```" + head + "\n(.*?)^```$").FindSubmatch(octets)
		if found == nil {
			t.Fatal("README.md has no block ", head)
		}
		return string(found[1])
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	mine := filepath.Join(folder, "mine")
	for _, path := range []string{filepath.Join(folder, "sdk"), mine} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(here, filepath.Join(folder, "sdk", "go")); err != nil {
		t.Fatal(err)
	}
	inFolder := func(command string) (string, error) {
		made := exec.Command("bash", "-euc", command)
		made.Dir = mine
		said, err := made.CombinedOutput()
		return string(said), err
	}
	worker, test := block("go file=examples/worker/worker.go"), block("go file=worker_test.go")
	for path, shown := range map[string]string{"examples/worker/worker.go": worker, "examples/worker/worker_test.go": test} {
		if committed, err := os.ReadFile(path); err != nil || string(committed) != shown {
			t.Error("README.md shows another", path, err)
		}
	}
	if said, err := inFolder(block("sh install")); err != nil {
		t.Fatal(said, err)
	}
	write(t, worker, mine, "worker.go")
	write(t, test, mine, "worker_test.go")
	if said, err := inFolder("go build . && go test ."); err != nil || !strings.Contains(said, "ok") {
		t.Error(said, err)
	}
	write(t, strings.ReplaceAll(worker, "eve@example.com", "adam@example.com"), mine, "worker.go")
	if said, err := inFolder("go test ."); err == nil || !strings.Contains(said, "TestEveHasLeft") {
		t.Error(said, err)
	}
}
