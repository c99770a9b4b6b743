package gatepost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/wire"
)

// golden is the folder of the transcripts.
const golden = "../../protocol/golden"

const patience = 10 * time.Second

func goldenFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(golden + "/*.ndjson")
	if err != nil || len(paths) < 100 {
		t.Fatal("no transcripts", err)
	}
	return paths
}

func transcript(t *testing.T, path string) []map[string]any {
	t.Helper()
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []map[string]any
	for _, line := range bytes.Split(bytes.TrimSuffix(octets, []byte("\n")), []byte("\n")) {
		step, err := wire.ParseLine(line)
		if err != nil {
			t.Fatal(path, err)
		}
		steps = append(steps, step)
	}
	return steps
}

// octetsOfStep are what this step sends.
func octetsOfStep(step map[string]any) []byte {
	if line := object(step["line"]); line != nil {
		return wire.EncodeLine(line)
	}
	raw := octetsOf(step["raw"])
	if fill, is := step["fill"].(string); is {
		total, _ := step["total"].(int64)
		tail := octetsOf(step["tail"])
		raw += strings.Repeat(fill, int(total)-len(raw)-len(tail)) + tail
	}
	return []byte(raw)
}

func TestCheckOverGolden(t *testing.T) {
	looked := 0
	for _, path := range goldenFiles(t) {
		name := filepath.Base(path)
		if !strings.HasPrefix(name, "invalid-") && !strings.HasPrefix(name, "verdict-") {
			continue
		}
		events := map[any]map[string]any{}
		for _, step := range transcript(t, path)[1:] {
			if step["line"] == nil && step["raw"] == nil {
				continue
			}
			line := object(step["line"])
			if line == nil {
				var err error
				if line, err = wire.ParseLine(octetsOfStep(step)); err != nil {
					t.Fatal(name, err)
				}
			}
			if line["type"] == "event" {
				events[line["id"]] = line
			}
			if line["type"] != "verdict" {
				continue
			}
			looked++
			expected, _ := step["violation"].(string)
			found := Check(events[line["id"]], line)
			if expected == "" && found != nil || expected != "" && (found == nil || found.Rule != expected) {
				t.Errorf("%s: %s: expected %q, found %v", name, shown(line), expected, found)
			}
			if found != nil && (len(found.Message) < 5 || len(found.Message) > 500) {
				t.Errorf("%s: %q", name, found.Message)
			}
		}
	}
	if looked < 200 {
		t.Error("only", looked)
	}
}

func TestTablesAreThoseOfTheProtocol(t *testing.T) {
	made, err := exec.Command("go", "run", "generate.go", "-print").Output()
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("internal/tables/tables.go")
	if err != nil || !bytes.Equal(made, committed) {
		t.Error("internal/tables/tables.go is not what generate.go makes", err)
	}
	for name := range hookNamed {
		method := ""
		for _, part := range strings.Split(name, "_") {
			method += strings.ToUpper(part[:1]) + part[1:]
		}
		if name == "ok" {
			method = "OK"
		}
		if _, isThere := reflect.TypeOf(&Worker{}).MethodByName(method); !isThere {
			t.Error("Worker has no method", method)
		}
	}
}

// scripted is a handler that does what a transcript's script says.
func scripted(script map[string]any) Handler {
	return func(ctx context.Context, event *Event) (Verdict, error) {
		if ms, is := script["progress"].(int64); is {
			event.Progress(time.Duration(ms) * time.Millisecond)
		}
		if script["until"] == "cancel" {
			<-ctx.Done()
		}
		if text, is := script["raise"].(string); is {
			return Verdict{}, errors.New(text)
		}
		word, _ := script["verdict"].(string)
		verdict := Verdict{Word: Word(word)}
		reply := object(script["reply"])
		code, _ := reply["code"].(int64)
		verdict.Code = int(code)
		verdict.Status, _ = reply["status"].(string)
		for _, line := range list(reply["text"]) {
			text, _ := line.(string)
			verdict.Text = append(verdict.Text, text)
		}
		notes := object(script["notes"])
		verdict.SessionNotes, verdict.TransactionNotes = object(notes["session"]), object(notes["transaction"])
		for _, action := range list(script["actions"]) {
			verdict.Actions = append(verdict.Actions, object(action))
		}
		return verdict, nil
	}
}

func textsOf(value any) []string {
	var made []string
	for _, each := range list(value) {
		text, _ := each.(string)
		made = append(made, text)
	}
	return made
}

func scriptedWorker(header map[string]any) *Worker {
	said := object(header["hello"])
	worker := NewWorker("demo")
	worker.Pool, worker.Concurrency, worker.MaxFrame = "policy", 4, 65_536
	worker.Logger = log.New(io.Discard, "", 0)
	about := object(said["worker"])
	if name, is := about["name"].(string); is {
		worker.Name = name
	}
	worker.Version, _ = about["version"].(string)
	worker.Instance, _ = about["instance"].(string)
	if pool, is := said["pool"].(string); is {
		worker.Pool = pool
	}
	if concurrency, is := said["concurrency"].(int64); is {
		worker.Concurrency = int(concurrency)
	}
	if maxFrame, is := said["max_frame"].(int64); is {
		worker.MaxFrame = int(maxFrame)
	}
	for hook, each := range object(header["plugins"]) {
		script := object(each)
		options := []Option{Needs(textsOf(script["needs"])...)}
		if script["observe"] == true {
			options = append(options, Observe())
		}
		if script["idempotent"] == true {
			options = append(options, Idempotent())
		}
		if script["extensions"] != nil {
			options = append(options, Extensions(textsOf(script["extensions"])...))
		}
		worker.Handle(hook, scripted(script), options...)
	}
	return worker
}

// far is the frontend's end of a connection: what the worker wrote, until it closed.
type far struct {
	conn   net.Conn
	mutex  sync.Mutex
	news   *sync.Cond
	lines  []map[string]any
	wrong  error
	closed bool
}

func newFar(conn net.Conn) *far {
	f := &far{conn: conn}
	f.news = sync.NewCond(&f.mutex)
	go f.read()
	return f
}

func (f *far) read() {
	frames := wire.FrameDecoder{MaxFrame: 16_777_216}
	buffer := make([]byte, 65_536)
	for {
		count, err := f.conn.Read(buffer)
		f.mutex.Lock()
		for _, line := range frames.Feed(buffer[:count]) {
			message, err := wire.ParseLine(line)
			if err != nil {
				f.wrong = err
			}
			f.lines = append(f.lines, message)
		}
		f.closed = err != nil
		f.news.Broadcast()
		f.mutex.Unlock()
		if err != nil {
			return
		}
	}
}

// until waits for what holds of the lines so far.
func (f *far) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.Now().Add(patience)
	timer := time.AfterFunc(patience, f.news.Broadcast)
	defer timer.Stop()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for !holds() {
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %s; there came %s", what, shownAll(f.lines))
		}
		f.news.Wait()
	}
}

func shownAll(lines []map[string]any) string {
	var all strings.Builder
	for _, line := range lines {
		all.Write(wire.EncodeLine(line))
	}
	return all.String()
}

func isEmpty(value any) bool {
	found := reflect.ValueOf(value)
	return (found.Kind() == reflect.Map || found.Kind() == reflect.Slice) && found.Len() == 0
}

func sortedNeeds(hooks any) map[string]any {
	made := map[string]any{}
	for hook, said := range object(hooks) {
		each := map[string]any{"needs": []string{}}
		for key, value := range object(said) {
			each[key] = value
		}
		needs := textsOf(object(said)["needs"])
		sort.Strings(needs)
		each["needs"] = fmt.Sprint(needs)
		made[hook] = each
	}
	return made
}

func isAnswer(line map[string]any) bool { return line["type"] == "verdict" || line["type"] == "error" }

// matches holds a line against the one that the transcript shows (protocol/golden/README.md).
func matches(expected, said map[string]any, cancelled map[any]bool) bool {
	if cancelled[said["id"]] && isAnswer(said) {
		return expected["id"] == said["id"] && isAnswer(expected)
	}
	isHello := expected["type"] == "hello"
	for key, value := range expected {
		switch {
		case key == "message", isHello && key == "plugins":
		case isHello && key == "worker":
			if object(value)["name"] != object(said["worker"])["name"] {
				return false
			}
		case isHello && key == "hooks":
			if !reflect.DeepEqual(sortedNeeds(value), sortedNeeds(said["hooks"])) {
				return false
			}
		case !reflect.DeepEqual(value, said[key]):
			return false
		}
	}
	for key, value := range said {
		_, isShown := expected[key]
		if !isHello && !isShown && !isEmpty(value) && key != "plugin" && key != "trace" && key != "message" {
			return false
		}
	}
	return true
}

func compare(t *testing.T, expected, said []map[string]any, cancelled map[any]bool) {
	t.Helper()
	byID := func(lines []map[string]any) map[any][]map[string]any {
		groups := map[any][]map[string]any{}
		for _, line := range lines {
			groups[line["id"]] = append(groups[line["id"]], line)
		}
		return groups
	}
	wanted, got := byID(expected), byID(said)
	if len(expected) != len(said) {
		t.Errorf("expected\n%sgot\n%s", shownAll(expected), shownAll(said))
	}
	for id, lines := range wanted {
		for index, line := range lines {
			if index >= len(got[id]) || !matches(line, got[id][index], cancelled) {
				t.Errorf("expected\n%sgot\n%s", shownAll(lines), shownAll(got[id]))
				break
			}
		}
	}
}

func replay(t *testing.T, path, splitting string) {
	steps := transcript(t, path)
	ours, theirs := net.Pipe()
	link := newLink(scriptedWorker(steps[0]), theirs, log.New(io.Discard, "", 0), nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		link.serve(ctx)
	}()
	f := newFar(ours)
	defer func() {
		ours.Close()
		stop()
		<-ended
	}()
	var expected []map[string]any
	cancelled := map[any]bool{}
	var waiting [][]byte
	barrier := func() {
		pieces := waiting
		if whole := bytes.Join(waiting, nil); splitting == "whole" {
			pieces = [][]byte{whole}
		} else if splitting == "octet" {
			pieces = nil
			for at := range whole {
				pieces = append(pieces, whole[at:at+1])
			}
		}
		for _, piece := range pieces {
			if len(piece) > 0 {
				if _, err := ours.Write(piece); err != nil {
					break // the worker has left
				}
			}
		}
		waiting = nil
		f.until(t, shownAll(expected), func() bool { return len(f.lines) >= len(expected) })
	}
	for _, step := range steps[1:] {
		line := object(step["line"])
		switch {
		case step["from"] == "worker":
			expected = append(expected, line)
			if line["type"] == "hello" {
				barrier()
			}
		case step["from"] == "frontend":
			waiting = append(waiting, octetsOfStep(step))
			if line["type"] == "cancel" {
				cancelled[line["id"]] = true
			}
		case step["stop"] == "worker":
			barrier()
			stop()
			f.until(t, "drain or bye", func() bool { return len(f.lines) > len(expected) })
		case step["close"] == "worker":
			barrier()
			f.until(t, "the end", func() bool { return f.closed })
		case step["close"] == "frontend":
			barrier()
			ours.Close()
		}
	}
	barrier()
	f.mutex.Lock()
	closed := f.closed
	f.mutex.Unlock()
	if !closed && steps[len(steps)-1]["close"] != "frontend" {
		waiting = [][]byte{[]byte("{\"type\":\"ping\",\"n\":424242}\n")}
		expected = append(expected, map[string]any{"type": "pong", "n": int64(424242)})
		barrier()
		link.locked(func() {
			if link.core.Outstanding() != 0 {
				t.Error("events without an answer")
			}
		})
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.wrong != nil {
		t.Error(f.wrong)
	}
	compare(t, expected, f.lines, cancelled)
}

func TestReplay(t *testing.T) {
	count := 0
	for _, path := range goldenFiles(t) {
		if transcript(t, path)[0]["side"] == "frontend" {
			continue
		}
		count++
		path := path
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			for _, splitting := range []string{"whole", "line", "octet"} {
				replay(t, path, splitting)
			}
		})
	}
	if count < 70 {
		t.Error("only", count)
	}
}
