// Package gateposttest tests the handlers of a worker without a server: a Session asks them as a frontend would, and keeps
// what they changed.
package gateposttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost"
	"gatepost/internal/wire"
)

// Failure says that a handler answered no valid verdict.
type Failure struct {
	// Code is that of the error on the wire: exception, deadline, invalid_verdict.
	Code string
	// Message names handler, hook, rule and value of an invalid verdict.
	Message string
	// Plugin is the handler's name; "" if there was none.
	Plugin string
	// Cause is the handler's error, or a *gatepost.PanicError; else nil.
	Cause error
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Unwrap is the handler's error.
func (f *Failure) Unwrap() error { return f.Cause }

// Refused is a recipient that was refused when the message had come.
type Refused struct {
	Recipient gatepost.Recipient
	Verdict   gatepost.Verdict
}

// Challenge is what the last login was answered with.
type Challenge struct{ Challenge, State string }

// Proof is what a client proves itself with: Password; or Challenge and Response; or Step, Response and State.
type Proof struct {
	// Mechanism is by default PLAIN, CRAM-MD5 or SCRAM-SHA-256.
	Mechanism, Password, Challenge, Response, State string
	Step                                            int
}

type transaction struct {
	sender, asked, message map[string]any
	recipients, headers    []map[string]any
	hasMessage             bool
}

// Session is an SMTP session without a frontend. Each method asks the worker's handlers, returns the verdict, and does to the
// session what a frontend does with it. A handler that fails, or answers an invalid verdict, ends the test: see Fail.
type Session struct {
	// ClientIP is 192.0.2.1, and ClientName "" (not known), until they are set.
	ClientIP, ClientName string
	// TLS is the object of an event's session; nil without TLS.
	TLS map[string]any
	// Deadline is how long a handler may take: 60 s.
	Deadline time.Duration
	// Relay says whether the session may relay; EarlyTalker whether the client spoke too early.
	Relay, EarlyTalker bool
	// User is who the client proved to be by Mechanism; "" until Auth was answered with ok.
	User, Mechanism string
	// SessionNotes and TransactionNotes are as plugins left them. Set them as if another plugin had.
	SessionNotes, TransactionNotes map[string]any
	// LastVerdict is what the last question was answered.
	LastVerdict gatepost.Verdict
	// Delay is how long the last reply was to be delayed.
	Delay time.Duration
	// LastChallenge is what the last login was answered with; nil if with no challenge.
	LastChallenge *Challenge
	// RefusedRecipients are those that were refused when the message had come.
	RefusedRecipients []Refused
	// Fail is told of a failure: by default it ends the test. If it returns, the verdict is the zero Verdict.
	Fail func(*Failure)

	t            testing.TB
	worker       *gatepost.Worker
	hooks        map[string]any
	folder       string
	conn         net.Conn
	gone         chan struct{}
	mutex        sync.Mutex
	cause        error
	answers      chan map[string]any
	id           int64
	transactions int
	recipientID  int64
	headerID     int64
	hello        map[string]any
	now          *transaction
}

// logged hands a worker's log to the test, until that is over.
type logged struct {
	mutex sync.Mutex
	t     testing.TB
}

func (l *logged) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

// NewSession begins a session of this worker; it ends with the test. What the worker logs, the test logs.
func NewSession(t testing.TB, worker *gatepost.Worker) *Session {
	t.Helper()
	if err := worker.Err(); err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	s := &Session{
		ClientIP: "192.0.2.1", Deadline: time.Minute, SessionNotes: map[string]any{}, TransactionNotes: map[string]any{}, t: t,
		worker: worker, folder: t.TempDir(), conn: ours, gone: make(chan struct{}), answers: make(chan map[string]any, 16),
	}
	s.hooks, _ = worker.Hello()["hooks"].(map[string]any)
	s.Fail = func(failure *Failure) {
		t.Helper()
		t.Fatal(failure)
	}
	if err := os.MkdirAll(s.out(), 0o755); err != nil {
		t.Fatal(err)
	}
	lines := &logged{t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		worker.ServeConn(context.Background(), theirs, log.New(lines, "", 0), func(_ *gatepost.Event, err error) {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.cause = err
		})
	}()
	go s.read()
	t.Cleanup(func() {
		ours.Close()
		<-ended
		lines.mutex.Lock()
		defer lines.mutex.Unlock()
		lines.t = nil
	})
	s.say(map[string]any{
		"type": "welcome", "protocol": 1, "frontend": map[string]any{"id": "test", "version": "0", "hostname": "test.example"},
		"connection": "w1", "max_frame": 16_777_216, "concurrency": 65_535, "spool": s.folder,
		"limits": map[string]any{"notes_octets": 65_536, "actions": 256, "reply_lines": 20},
	})
	return s
}

func (s *Session) out() string { return filepath.Join(s.folder, "out", s.worker.Pool) }

func (s *Session) read() {
	defer close(s.gone)
	frames := wire.FrameDecoder{MaxFrame: 16_777_216}
	buffer := make([]byte, 65536)
	for {
		count, err := s.conn.Read(buffer)
		for _, line := range frames.Feed(buffer[:count]) {
			message, err := wire.ParseLine(line)
			if err != nil {
				return
			}
			switch message["type"] {
			case "verdict", "error", "pong":
				s.answers <- message
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *Session) fail(code, message string) {
	s.t.Helper()
	s.Fail(&Failure{Code: code, Message: message})
}

func (s *Session) say(message map[string]any) bool {
	s.t.Helper()
	plain, err := wire.Plain(message, "")
	if err != nil {
		s.fail("notes", err.Error())
		return false
	}
	made, _ := plain.(map[string]any)
	if _, err := s.conn.Write(wire.EncodeLine(made)); err != nil {
		s.fail("closed", "the worker closed the connection: "+err.Error())
		return false
	}
	return true
}

// await is the next answer with this member; nil if there is none in time.
func (s *Session) await(key string, value int64) map[string]any {
	late := time.NewTimer(s.Deadline + 10*time.Second)
	defer late.Stop()
	for {
		select {
		case message := <-s.answers:
			if message[key] == value {
				return message
			}
		case <-s.gone:
			return nil
		case <-late.C:
			return nil
		}
	}
}

// State

// Sender is the reverse-path; "" for <>, and outside a transaction.
func (s *Session) Sender() string {
	if s.now == nil || s.now.sender == nil {
		return ""
	}
	return octets(s.now.sender["address"])
}

func octets(value any) string {
	found, _ := wire.Octets(value)
	return found
}

func recipientOf(raw map[string]any) gatepost.Recipient {
	id, _ := raw["id"].(int64)
	made := gatepost.Recipient{ID: id, Address: octets(raw["address"]), Local: octets(raw["local"]), Domain: octets(raw["domain"])}
	params, _ := raw["params"].([]any)
	for _, each := range params {
		if pair, is := each.([]any); is && len(pair) == 2 {
			made.Params = append(made.Params, gatepost.Param{Keyword: octets(pair[0]), Value: octets(pair[1]), HasValue: pair[1] != nil})
		}
	}
	return made
}

// Recipients are those of the envelope so far.
func (s *Session) Recipients() []gatepost.Recipient {
	var recipients []gatepost.Recipient
	if s.now != nil {
		for _, raw := range s.now.recipients {
			recipients = append(recipients, recipientOf(raw))
		}
	}
	return recipients
}

// Headers are the header fields of the message, as plugins left them.
func (s *Session) Headers() []gatepost.Header {
	var headers []gatepost.Header
	if s.now != nil {
		for _, raw := range s.now.headers {
			id, _ := raw["id"].(int64)
			headers = append(headers, gatepost.Header{ID: id, Name: octets(raw["name"]), Space: octets(raw["space"]), Value: octets(raw["value"])})
		}
	}
	return headers
}

// Header is the value of the first field of this name without the white space at its ends; "" if there is none.
func (s *Session) Header(name string) string {
	for _, field := range s.Headers() {
		if strings.EqualFold(field.Name, name) {
			return strings.Trim(field.Value, " \t\r\n")
		}
	}
	return ""
}

// What the client does

// Connect: the client connects.
func (s *Session) Connect() gatepost.Verdict { s.t.Helper(); return s.Ask("connect", nil) }

// Helo: the client says HELO.
func (s *Session) Helo(name string) gatepost.Verdict { s.t.Helper(); return s.greet("HELO", name) }

// Ehlo: the client says EHLO.
func (s *Session) Ehlo(name string) gatepost.Verdict { s.t.Helper(); return s.greet("EHLO", name) }

func (s *Session) greet(verb, name string) gatepost.Verdict {
	s.t.Helper()
	s.ResetTransaction()
	s.hello = map[string]any{"verb": verb, "name": wire.Field(name)}
	return s.Ask(strings.ToLower(verb), map[string]any{"name": wire.Field(name)})
}

// Auth: the client says AUTH.
func (s *Session) Auth(user string, proof Proof) gatepost.Verdict {
	s.t.Helper()
	args := map[string]any{"user": wire.Field(user)}
	usual := "PLAIN"
	switch {
	case proof.Step > 0:
		usual = "SCRAM-SHA-256"
		args["step"], args["response"] = proof.Step, wire.Field(proof.Response)
		if proof.Step > 1 {
			args["state"] = wire.Field(proof.State)
		}
	case proof.Challenge != "":
		usual = "CRAM-MD5"
		args["challenge"], args["response"] = wire.Field(proof.Challenge), wire.Field(proof.Response)
	default:
		args["password"] = wire.Field(proof.Password)
	}
	if proof.Mechanism != "" {
		usual = proof.Mechanism
	}
	args["mechanism"] = usual
	s.LastChallenge = nil
	verdict := s.Ask("auth", args)
	if verdict.Word == gatepost.WordOK {
		s.User, s.Mechanism, s.Relay = user, usual, true
	}
	return verdict
}

var quoted = regexp.MustCompile(`\\(.)`)

// addressOf has the address parts as they stand in an event.
func addressOf(address string, parameters []string) map[string]any {
	made := map[string]any{"address": wire.Field(address), "domain": nil}
	local := address
	if at := strings.LastIndex(address, "@"); at >= 0 {
		local = address[:at]
		made["domain"] = wire.Field(address[at+1:])
	}
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		local = quoted.ReplaceAllString(local[1:len(local)-1], "$1")
	}
	made["local"] = wire.Field(local)
	params := []any{}
	for _, parameter := range parameters {
		keyword, value, hasValue := strings.Cut(parameter, "=")
		pair := []any{strings.ToUpper(keyword), nil}
		if hasValue {
			pair[1] = wire.Field(value)
		}
		params = append(params, pair)
	}
	made["params"] = params
	return made
}

// Mail: the client says MAIL; "" is the null reverse-path. Parameters are as the client writes them: BODY=8BITMIME.
func (s *Session) Mail(from string, parameters ...string) gatepost.Verdict {
	s.t.Helper()
	s.ResetTransaction()
	s.transactions++
	sender := addressOf(from, parameters)
	s.now = &transaction{asked: sender}
	verdict := s.Ask("mail", map[string]any{"sender": sender})
	if verdict.IsRefusal() {
		s.ResetTransaction()
	} else if s.now.sender == nil {
		s.now.sender = sender
	}
	return verdict
}

// Rcpt: the client says RCPT. The recipient is in the envelope if no handler refuses: another pool may accept it.
func (s *Session) Rcpt(to string, parameters ...string) gatepost.Verdict {
	s.t.Helper()
	if !s.inMail() {
		return gatepost.Verdict{}
	}
	s.recipientID++
	candidate := addressOf(to, parameters)
	candidate["id"] = s.recipientID
	verdict := s.ask("rcpt", map[string]any{"recipient": candidate}, candidate)
	if !verdict.IsRefusal() {
		s.now.recipients = append(s.now.recipients, candidate)
	}
	s.settle()
	return verdict
}

// Data: the client says DATA.
func (s *Session) Data() gatepost.Verdict {
	s.t.Helper()
	if !s.inMail() {
		return gatepost.Verdict{}
	}
	return s.Ask("data", nil)
}

var bareLF = regexp.MustCompile(`\r?\n`)

// Message: the message arrives; lines with LF alone get their CR. The hooks from data_headers_end to queue_pre are asked that
// the worker has, until one refuses or is answered with done.
func (s *Session) Message(message string) gatepost.Verdict {
	s.t.Helper()
	if !s.inMail() {
		return gatepost.Verdict{}
	}
	s.take(bareLF.ReplaceAllString(message, "\r\n"))
	last := gatepost.Declined()
	for _, hook := range []string{"data_headers_end", "received_line", "data_post_headers", "data_post", "queue_pre"} {
		said, isThere := s.hooks[hook].(map[string]any)
		if !isThere || said["observe"] == true {
			continue
		}
		args := map[string]any{}
		if hook == "received_line" {
			args = map[string]any{"value": " from test", "queue_id": "test"}
		}
		verdict := s.Ask(hook, args)
		if verdict.Word != gatepost.WordDeclined {
			last = verdict
		}
		if verdict.IsRefusal() || verdict.Word == gatepost.WordDone {
			break
		}
	}
	s.LastVerdict = last
	return last
}

// Queue: the message is to be stored.
func (s *Session) Queue() gatepost.Verdict {
	s.t.Helper()
	if !s.inMail() {
		return gatepost.Verdict{}
	}
	return s.Ask("queue", map[string]any{"queue_id": fmt.Sprintf("TEST.%d", s.transactions)})
}

func (s *Session) argument(hook, argument string) gatepost.Verdict {
	s.t.Helper()
	return s.Ask(hook, map[string]any{"argument": wire.Field(argument)})
}

// Vrfy: the client says VRFY.
func (s *Session) Vrfy(argument string) gatepost.Verdict {
	s.t.Helper()
	return s.argument("vrfy", argument)
}

// Help: the client says HELP.
func (s *Session) Help(argument string) gatepost.Verdict {
	s.t.Helper()
	return s.argument("help", argument)
}

// Noop: the client says NOOP.
func (s *Session) Noop(argument string) gatepost.Verdict {
	s.t.Helper()
	return s.argument("noop", argument)
}

// UnrecognizedCommand: the client says this line, which is no command.
func (s *Session) UnrecognizedCommand(line string) gatepost.Verdict {
	s.t.Helper()
	command, _, _ := strings.Cut(line, " ")
	return s.Ask("unrecognized_command", map[string]any{"command": wire.Field(command), "line": wire.Field(line)})
}

// Quit: the client says QUIT.
func (s *Session) Quit() gatepost.Verdict { s.t.Helper(); return s.Ask("quit", nil) }

// Disconnect ends the session: disconnect is told, with a reason such as quit.
func (s *Session) Disconnect(reason string) {
	s.t.Helper()
	if s.now != nil {
		s.Notify("reset_transaction", map[string]any{"reason": "disconnect"})
	}
	s.ResetTransaction()
	s.Notify("disconnect", map[string]any{"reason": reason, "duration_ms": 1})
}

// ResetTransaction ends the transaction: its notes, sender, recipients and message are gone.
func (s *Session) ResetTransaction() {
	s.now = nil
	s.recipientID, s.headerID = 0, 0
	s.TransactionNotes = map[string]any{}
}

func (s *Session) inMail() bool {
	s.t.Helper()
	if s.now == nil {
		s.fail("sequence", "there is no transaction: call Mail first")
	}
	return s.now != nil
}

// Notify tells queue_post, reset_transaction, deny, ok, disconnect or status, and waits until handlers are done.
func (s *Session) Notify(hook string, args map[string]any) {
	s.t.Helper()
	said, isThere := s.hooks[hook].(map[string]any)
	if !isThere {
		return
	}
	message := s.picture(hook, args, said)
	message["type"] = "notify"
	s.id++
	if s.say(message) && s.say(map[string]any{"type": "ping", "n": s.id}) {
		if s.await("n", s.id) == nil {
			s.fail("closed", "the worker closed the connection")
		}
		s.worker.WaitForNotifications()
	}
}

// Ask asks about any hook with these args; declined if the worker has no handler of it.
func (s *Session) Ask(hook string, args map[string]any) gatepost.Verdict {
	s.t.Helper()
	return s.ask(hook, args, nil)
}

func (s *Session) ask(hook string, args, candidate map[string]any) gatepost.Verdict {
	s.t.Helper()
	s.Delay = 0
	s.LastVerdict = gatepost.Declined()
	said, isThere := s.hooks[hook].(map[string]any)
	if !isThere {
		return s.LastVerdict
	}
	if said["observe"] == true {
		s.Notify(hook, args)
		return s.LastVerdict
	}
	s.id++
	s.mutex.Lock()
	s.cause = nil
	s.mutex.Unlock()
	message := s.picture(hook, args, said)
	for key, value := range map[string]any{
		"type": "event", "id": s.id, "key": fmt.Sprintf("test.%d", s.id), "attempt": 1, "deadline_ms": s.Deadline.Milliseconds(),
	} {
		message[key] = value
	}
	if !s.say(message) {
		return gatepost.Verdict{}
	}
	answer := s.await("id", s.id)
	if answer == nil {
		s.fail("closed", "no answer: the worker closed the connection, or is overdue")
		return gatepost.Verdict{}
	}
	if answer["type"] == "error" {
		failure := &Failure{}
		failure.Code, _ = answer["code"].(string)
		failure.Message, _ = answer["message"].(string)
		failure.Plugin, _ = answer["plugin"].(string)
		if failure.Code == "exception" {
			failure.Cause = s.failureCause()
		}
		s.Fail(failure)
		return gatepost.Verdict{}
	}
	if err := s.apply(answer, candidate); err != nil {
		s.fail("invalid_verdict", err.Error())
		return gatepost.Verdict{}
	}
	s.LastVerdict = verdictOf(answer)
	return s.LastVerdict
}

// failureCause is the handler's error. It is told after the answer is on its way: wait for it.
func (s *Session) failureCause() error {
	for late := time.Now().Add(time.Second); time.Now().Before(late); {
		s.mutex.Lock()
		cause := s.cause
		s.mutex.Unlock()
		if cause != nil {
			return cause
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func verdictOf(message map[string]any) gatepost.Verdict {
	word, _ := message["verdict"].(string)
	made := gatepost.Verdict{Word: gatepost.Word(word)}
	made.Plugin, _ = message["plugin"].(string)
	reply, _ := message["reply"].(map[string]any)
	code, _ := reply["code"].(int64)
	made.Code = int(code)
	made.Status, _ = reply["status"].(string)
	text, _ := reply["text"].([]any)
	for _, each := range text {
		line, _ := each.(string)
		made.Text = append(made.Text, line)
	}
	notes, _ := message["notes"].(map[string]any)
	made.SessionNotes, _ = notes["session"].(map[string]any)
	made.TransactionNotes, _ = notes["transaction"].(map[string]any)
	actions, _ := message["actions"].([]any)
	for _, each := range actions {
		if action, is := each.(map[string]any); is {
			made.Actions = append(made.Actions, action)
		}
	}
	return made
}

func (s *Session) picture(hook string, args, said map[string]any) map[string]any {
	if args == nil {
		args = map[string]any{}
	}
	picture := map[string]any{"hook": hook, "args": args}
	if hook == "status" {
		return picture
	}
	client := map[string]any{"ip": s.ClientIP, "port": 51_512, "name": nil}
	if s.ClientName != "" {
		client["name"] = wire.Field(s.ClientName)
	}
	session := map[string]any{
		"id": "TEST", "listener": "test", "started_ms": int64(1_732_322_669_123), "client": client,
		"server": map[string]any{"ip": "198.51.100.25", "port": 25}, "proxy": nil, "hello": nil, "tls": nil, "auth": nil,
		"relay": s.Relay, "early_talker": s.EarlyTalker,
		"counters": map[string]any{"commands": s.id, "errors": 0, "unrecognized": 0, "transactions": s.transactions, "rcpt_ok": 0, "rcpt_denied": 0},
	}
	if s.hello != nil {
		session["hello"] = s.hello
	}
	if s.TLS != nil {
		session["tls"] = s.TLS
	}
	if s.User != "" {
		session["auth"] = map[string]any{"mechanism": s.Mechanism, "user": wire.Field(s.User)}
	}
	picture["session"] = session
	notes := map[string]any{"session": s.SessionNotes}
	picture["notes"] = notes
	needs, _ := said["needs"].([]any)
	needed := func(part string) bool {
		for _, each := range needs {
			if each == part {
				return true
			}
		}
		return false
	}
	if s.now != nil {
		mail := map[string]any{"id": fmt.Sprintf("TEST.%d", s.transactions), "sender": nil, "recipient_count": len(s.now.recipients)}
		if s.now.sender != nil {
			mail["sender"] = s.now.sender
		}
		if needed("recipients") {
			mail["recipients"] = append([]map[string]any{}, s.now.recipients...)
		}
		if needed("headers") && s.now.hasMessage {
			mail["headers"] = append([]map[string]any{}, s.now.headers...)
		}
		if needed("message") && s.now.hasMessage && hook != "data_headers_end" {
			mail["message"] = s.now.message
		}
		picture["transaction"] = mail
		notes["transaction"] = s.TransactionNotes
	}
	if needed("trace") {
		picture["trace"] = []any{}
	}
	return picture
}

// What a frontend does with a verdict

var fieldLine = regexp.MustCompile(`(?s)^([!-9;-~]+)([ \t]*):(.*)$`)

// take makes the message of these octets the transaction's (protocol/events.md, The message).
func (s *Session) take(message string) {
	var headers []map[string]any
	at := 0
	for at < len(message) {
		end := strings.Index(message[at:], "\r\n")
		if end < 0 {
			end = len(message) - at
		}
		line := message[at : at+end]
		if match := fieldLine.FindStringSubmatch(line); match != nil {
			s.headerID++
			raw := map[string]any{"id": s.headerID, "name": match[1], "value": match[3]}
			if match[2] != "" {
				raw["space"] = match[2]
			}
			headers = append(headers, raw)
		} else if len(headers) > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			last := headers[len(headers)-1]
			last["value"] = fmt.Sprint(last["value"], "\r\n", line)
		} else {
			break
		}
		if at += end + 2; at > len(message) {
			at = len(message)
		}
	}
	for _, raw := range headers {
		raw["value"] = wire.Field(fmt.Sprint(raw["value"]))
	}
	if at < len(message) && !strings.HasPrefix(message[at:], "\r\n") {
		message = message[:at] + "\r\n" + message[at:]
	}
	path := filepath.Join(s.folder, "message")
	if err := os.WriteFile(path, []byte(message), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.now.headers, s.now.hasMessage = headers, true
	s.now.message = map[string]any{"path": path, "size": len(message), "body_offset": at}
}

func merge(target map[string]any, patch any) map[string]any {
	changes, isPatch := patch.(map[string]any)
	result := map[string]any{}
	for key, value := range target {
		result[key] = value
	}
	if !isPatch {
		return result
	}
	for key, value := range changes {
		if value == nil {
			delete(result, key)
		} else if inner, is := value.(map[string]any); is {
			old, _ := result[key].(map[string]any)
			result[key] = merge(old, inner)
		} else {
			result[key] = value
		}
	}
	return result
}

func (s *Session) apply(message, candidate map[string]any) error {
	notes, _ := message["notes"].(map[string]any)
	s.SessionNotes = merge(s.SessionNotes, notes["session"])
	s.TransactionNotes = merge(s.TransactionNotes, notes["transaction"])
	actions, _ := message["actions"].([]any)
	for _, each := range actions {
		action, _ := each.(map[string]any)
		if err := s.act(action, candidate); err != nil {
			return err
		}
	}
	s.settle()
	return nil
}

// value is a header value as it stands in the message.
func value(of any) any {
	text := octets(of)
	if text != "" && !strings.ContainsAny(text[:1], " \t\r") {
		text = " " + text
	}
	return wire.Field(text)
}

func without(list []map[string]any, isGone func(map[string]any) bool) []map[string]any {
	var kept []map[string]any
	for _, each := range list {
		if !isGone(each) {
			kept = append(kept, each)
		}
	}
	return kept
}

func (s *Session) act(action, candidate map[string]any) error {
	op, _ := action["op"].(string)
	id, _ := action["id"].(int64)
	hasID := func(each map[string]any) bool { return each["id"] == id }
	recipient := func() (map[string]any, error) {
		if candidate != nil && hasID(candidate) {
			return candidate, nil
		}
		for _, each := range s.now.recipients {
			if hasID(each) {
				return each, nil
			}
		}
		return nil, fmt.Errorf("unknown_recipient: %s: no recipient has the id %d", op, id)
	}
	switch op {
	case "header.add":
		s.headerID++
		raw := map[string]any{"id": s.headerID, "name": action["name"], "value": value(action["value"])}
		if action["at"] == "bottom" {
			s.now.headers = append(s.now.headers, raw)
		} else {
			s.now.headers = append([]map[string]any{raw}, s.now.headers...)
		}
	case "header.set", "header.delete":
		for index, each := range s.now.headers {
			if !hasID(each) {
				continue
			}
			if op == "header.delete" {
				s.now.headers = without(s.now.headers, hasID)
			} else {
				s.now.headers[index] = map[string]any{"id": id, "name": each["name"], "value": value(action["value"])}
			}
			return nil
		}
		return fmt.Errorf("unknown_header: %s: no field has the id %d", op, id)
	case "header.delete_all":
		s.now.headers = without(s.now.headers, func(each map[string]any) bool {
			return strings.EqualFold(octets(each["name"]), octets(action["name"]))
		})
	case "recipient.add":
		s.recipientID++
		raw := addressOf(octets(action["address"]), nil)
		raw["id"] = s.recipientID
		s.now.recipients = append(s.now.recipients, raw)
	case "recipient.remove", "recipient.replace", "recipient.refuse":
		found, err := recipient()
		if err != nil {
			return err
		}
		if op == "recipient.replace" {
			params := found["params"]
			for key, part := range addressOf(octets(action["address"]), nil) {
				found[key] = part
			}
			found["params"] = params
			return nil
		}
		if op == "recipient.refuse" {
			s.RefusedRecipients = append(s.RefusedRecipients, Refused{recipientOf(found), verdictOf(action)})
		}
		s.now.recipients = without(s.now.recipients, hasID)
	case "sender.replace":
		old := s.now.sender
		if old == nil {
			old = s.now.asked
		}
		s.now.sender = addressOf(octets(action["address"]), nil)
		s.now.sender["params"] = old["params"]
	case "message.replace":
		path, _ := action["path"].(string)
		message, err := os.ReadFile(filepath.Join(s.out(), path))
		if err != nil {
			return fmt.Errorf("file_refused: %s: %w", path, err)
		}
		rest := bytes.ReplaceAll(message, []byte("\r\n"), nil)
		if bytes.ContainsAny(rest, "\r\n") {
			return errors.New("file_refused: " + path + ": a bare CR or LF")
		}
		s.take(string(message))
	case "session.relay":
		s.Relay = action["value"] == true
	case "session.client_name":
		s.ClientName = octets(action["value"])
	case "reply.delay":
		ms, _ := action["ms"].(int64)
		if delay := time.Duration(ms) * time.Millisecond; delay > s.Delay {
			s.Delay = delay
		}
	case "auth.challenge":
		s.LastChallenge = &Challenge{octets(action["challenge"]), octets(action["state"])}
	}
	return nil
}

// settle: a recipient is there once: one local part, and one domain, whose letter case does not count.
func (s *Session) settle() {
	if s.now == nil {
		return
	}
	seen := map[string]bool{}
	s.now.recipients = without(s.now.recipients, func(each map[string]any) bool {
		key := octets(each["local"]) + "\x00" + strings.ToLower(octets(each["domain"]))
		isThere := seen[key]
		seen[key] = true
		return isThere
	})
}
