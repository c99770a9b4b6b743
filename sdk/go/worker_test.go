package gatepost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/wire"
)

// frontend is one at a socket of its own; script answers each line of a worker.
type frontend struct {
	listener net.Listener
	mutex    sync.Mutex
	news     *sync.Cond
	seen     []map[string]any
	conns    []net.Conn
}

type say func(lines ...string)

func newFrontend(t *testing.T, path string, script func(connection int, message map[string]any, answer say, conn net.Conn)) *frontend {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &frontend{listener: listener}
	f.news = sync.NewCond(&f.mutex)
	go func() {
		for count := 1; ; count++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mutex.Lock()
			f.conns = append(f.conns, conn)
			f.mutex.Unlock()
			go f.read(count, conn, script)
		}
	}()
	t.Cleanup(f.close)
	return f
}

func (f *frontend) read(count int, conn net.Conn, script func(int, map[string]any, say, net.Conn)) {
	frames := wire.FrameDecoder{MaxFrame: 16_777_216}
	buffer := make([]byte, 65_536)
	answer := func(lines ...string) { conn.Write([]byte(strings.Join(lines, "\n") + "\n")) }
	for {
		length, err := conn.Read(buffer)
		for _, line := range frames.Feed(buffer[:length]) {
			message, _ := wire.ParseLine(line)
			f.mutex.Lock()
			f.seen = append(f.seen, message)
			f.news.Broadcast()
			f.mutex.Unlock()
			script(count, message, answer, conn)
		}
		if err != nil {
			conn.Close()
			return
		}
	}
}

func (f *frontend) close() {
	f.listener.Close()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, conn := range f.conns {
		conn.Close()
	}
}

// until waits until so many lines of this type have come, and returns the lines of all types.
func (f *frontend) until(t *testing.T, kind string, count int) []map[string]any {
	t.Helper()
	late := time.Now().Add(patience)
	timer := time.AfterFunc(patience, f.news.Broadcast)
	defer timer.Stop()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for {
		found := 0
		for _, line := range f.seen {
			if line["type"] == kind {
				found++
			}
		}
		if found >= count {
			return append([]map[string]any(nil), f.seen...)
		}
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %d of %s; there came %s", count, kind, shownAll(f.seen))
		}
		f.news.Wait()
	}
}

const welcome = `{"type":"welcome","protocol":1,"frontend":{"id":"mx1"},"connection":"w1","max_frame":65536,"concurrency":4,"spool":"/nowhere"}`

func event(id int, hook string) string {
	return fmt.Sprintf(`{"type":"event","id":%d,"key":"k","hook":%q,"attempt":1,"deadline_ms":20000,"session":{},"args":{},"notes":{"session":{}}}`, id, hook)
}

func polite(_ int, message map[string]any, answer say, _ net.Conn) {
	switch message["type"] {
	case "hello":
		answer(welcome)
	case "drain":
		answer(`{"type":"drain","reason":"requested"}`)
	}
}

// logs are the lines of a worker's log.
type logs struct {
	mutex sync.Mutex
	lines bytes.Buffer
}

func (l *logs) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.Write(line)
}

func (l *logs) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.String()
}

// served is a worker for frontends in a folder of its own; end stops it, and waits until it has left.
func served(t *testing.T, register func(*Worker)) (folder string, written *logs, end func()) {
	t.Helper()
	base, err := os.MkdirTemp("", "gp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	folder = filepath.Join(base, "pools/policy")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	written = &logs{}
	worker := NewWorker("test")
	worker.Pool, worker.RuntimeDirectory, worker.LookEvery = "policy", base, 20*time.Millisecond
	worker.Logger = log.New(written, "", 0)
	register(worker)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Serve(ctx) }()
	var once sync.Once
	end = func() {
		once.Do(func() {
			stop()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("the worker does not end")
			}
		})
	}
	t.Cleanup(end)
	return folder, written, end
}

func accept(context.Context, *Event) (Verdict, error) { return OK(), nil }

func TestTwoFrontends(t *testing.T) {
	folder, written, end := served(t, func(w *Worker) { w.Noop(accept) })
	first := newFrontend(t, filepath.Join(folder, "mx1.sock"), func(count int, message map[string]any, answer say, conn net.Conn) {
		polite(count, message, answer, conn)
		if message["type"] == "hello" {
			answer(event(1, "noop"))
		}
	})
	seen := first.until(t, "verdict", 1)
	if seen[0]["violations"] != true || seen[1]["verdict"] != "ok" {
		t.Error(shownAll(seen))
	}
	second := newFrontend(t, filepath.Join(folder, "mx2.sock"), func(count int, message map[string]any, answer say, conn net.Conn) {
		polite(count, message, answer, conn)
		if message["type"] == "hello" {
			answer(`{"type":"violation","id":1,"hook":"rcpt","plugin":"greylisting","violation":"reply_text","message":"reply.text[0]: é"}`, `{"type":"ping","n":7}`)
		}
	})
	second.until(t, "pong", 1)
	if text := written.String(); !strings.Contains(text, "invalid: greylisting at rcpt: reply_text: reply.text[0]: é") {
		t.Error(text)
	}
	end()
	for _, each := range []*frontend{first, second} {
		seen := each.until(t, "bye", 1)
		if last := seen[len(seen)-2:]; last[0]["type"] != "drain" || last[1]["code"] != "drained" {
			t.Error(shownAll(seen))
		}
	}
}

func TestAFrontendThatRestartsOrLiesIsDialledAgain(t *testing.T) {
	folder, _, end := served(t, func(w *Worker) { w.Noop(accept) })
	path := filepath.Join(folder, "mx1.sock")
	liar := newFrontend(t, path, func(count int, message map[string]any, answer say, conn net.Conn) {
		switch {
		case message["type"] == "hello" && count == 1:
			answer("{}")
		case message["type"] == "hello" && count == 2:
			answer(`{"type":"reject","code":"pool_full","message":"full","retry_ms":10}`)
		case message["type"] == "hello" && count == 3:
			conn.Close()
		default:
			polite(count, message, answer, conn)
		}
	})
	for _, line := range liar.until(t, "hello", 4) {
		if line["type"] == "bye" && line["code"] != "unknown_type" {
			t.Error(line)
		}
	}
	liar.close()
	next := newFrontend(t, path, polite)
	next.until(t, "hello", 1)
	end()
}

func TestAFailureIsAnErrorAndThereIsOneAnswer(t *testing.T) {
	release := make(chan struct{})
	folder, written, end := served(t, func(w *Worker) {
		w.Noop(func(context.Context, *Event) (Verdict, error) {
			<-release
			return OK(), nil
		})
		w.Help(func(context.Context, *Event) (Verdict, error) { return OK(), errors.New("no help") }, Plugin("broken"))
	})
	server := newFrontend(t, filepath.Join(folder, "mx1.sock"), func(count int, message map[string]any, answer say, conn net.Conn) {
		polite(count, message, answer, conn)
		if message["type"] == "hello" {
			// The cancel of 3 comes with it, before its handler began.
			answer(event(1, "noop"), event(2, "help"), event(3, "noop"), `{"type":"cancel","id":3,"reason":"client_gone"}`)
		}
		if message["id"] == int64(2) {
			answer(`{"type":"cancel","id":1,"reason":"client_gone"}`)
		}
	})
	server.until(t, "error", 3)
	close(release)
	end()
	var answers []string
	for _, line := range server.until(t, "bye", 1) {
		if line["id"] != nil {
			answers = append(answers, fmt.Sprint(line["id"], line["type"], line["code"], line["started"], line["plugin"], line["message"]))
		}
	}
	sort.Strings(answers)
	expected := fmt.Sprint([]string{
		fmt.Sprint(int64(1), "error", "cancelled", true, nil, "client_gone"), fmt.Sprint(int64(2), "error", "exception", true, "broken", "no help"),
		fmt.Sprint(int64(3), "error", "cancelled", false, nil, "client_gone"),
	})
	if fmt.Sprint(answers) != expected {
		t.Error(answers)
	}
	if !strings.Contains(written.String(), "broken: failed at help k: no help") {
		t.Error(written)
	}
}

func TestAMessageThatWasElidedIsNotQueued(t *testing.T) {
	folder, _, _ := served(t, func(w *Worker) { w.Queue(accept, Needs("headers", "message")) })
	server := newFrontend(t, filepath.Join(folder, "mx1.sock"), func(count int, message map[string]any, answer say, conn net.Conn) {
		polite(count, message, answer, conn)
		if message["type"] == "hello" {
			answer(strings.Replace(event(1, "queue"), `"args"`, `"elided":["headers"],"args"`, 1))
			answer(strings.Replace(event(2, "queue"), `"session":{}`, `"session":{"client":{"name":{"b64":"*"}}}`, 1))
		}
	})
	for _, line := range server.until(t, "error", 2)[1:] {
		said := fmt.Sprint(line["id"], line["code"], line["started"])
		if said != fmt.Sprint(int64(1), "incomplete_event", false) && said != fmt.Sprint(int64(2), "bad_event", true) {
			t.Error(line)
		}
	}
}

// A frontend that never reads gets no more questions answered than fit 1 MiB, and the worker ends all the same.
func TestAFrontendThatDoesNotRead(t *testing.T) {
	folder, _, end := served(t, func(w *Worker) { w.DrainTimeout = 50 * time.Millisecond })
	listener, err := net.Listen("unix", filepath.Join(folder, "mx1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pings := strings.Repeat("{\"type\":\"ping\",\"n\":9007199254740991}\n", 10_000)
	conn.Write([]byte(welcome + "\n"))
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	written := 0
	for written < 64<<20 {
		count, err := conn.Write([]byte(pings))
		written += count
		if err != nil {
			break
		}
	}
	if written > 16<<20 {
		t.Error("the worker takes everything:", written)
	}
	end()
}
