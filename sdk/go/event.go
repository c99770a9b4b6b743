package gatepost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"gatepost/internal/wire"
)

// ErrNotThere is the error (errors.Is) for a part of the event that was not asked for by Needs, was left out as too large
// (elided), or does not belong to the hook.
var ErrNotThere = errors.New("not there")

// Param is an ESMTP parameter. Keyword is in capitals; HasValue is false where there was no =.
type Param struct {
	Keyword, Value string
	HasValue       bool
}

// Address is a reverse-path or forward-path. Its strings hold octets as they came.
type Address struct {
	// Address is what stands between < and >; empty for the null reverse-path.
	Address string
	// Local is the local part without its quoting.
	Local string
	// Domain is empty for <> and <postmaster>.
	Domain string
	Params []Param
}

func (a Address) String() string { return a.Address }

// Recipient is a forward-path with the id that stays its own within the transaction.
type Recipient struct {
	ID int64
	// Address is what stands between < and >.
	Address string
	// Local is the local part without its quoting.
	Local string
	// Domain is empty for <postmaster>.
	Domain string
	Params []Param
}

func (r Recipient) String() string { return r.Address }

// Header is one header field; leading space and folding of the value are kept.
type Header struct {
	ID   int64
	Name string
	// Space is the white space between name and colon: obsolete (RFC 5322 §4.5), and mostly empty.
	Space string
	Value string
}

// Message is the spool file: its path, its octets, and where the header section ends.
type Message struct {
	Path             string
	Size, BodyOffset int64
}

// Hello is HELO, EHLO or LHLO (LMTP), and the name that the client said.
type Hello struct{ Verb, Name string }

// TLS is what is known of the session's TLS; Cipher and SNI are empty if they are not known.
type TLS struct {
	Version, Cipher, SNI string
	// ClientCertificate is nil if the client showed none, or was not asked.
	ClientCertificate *ClientCertificate
}

// ClientCertificate is the certificate of a client (protocol/events.md); a text is empty if it is not known.
type ClientCertificate struct {
	Verified                                     bool
	Subject, Issuer, Fingerprint, KeyFingerprint string
}

// Auth is who the client proved to be.
type Auth struct{ Mechanism, User string }

// Session is the SMTP session as the frontend has it now.
type Session struct {
	// Raw is the object in the message.
	Raw          map[string]any
	ID, Listener string
	// StartedMs is when the client connected, Unix milliseconds.
	StartedMs  int64
	ClientIP   string
	ClientPort int64
	// ClientName is the client's host name; empty until a worker sets it.
	ClientName string
	// ServerIP and ServerPort are what the client connected to.
	ServerIP   string
	ServerPort int64
	// Hello is nil before HELO or EHLO.
	Hello *Hello
	// TLS is nil without TLS.
	TLS *TLS
	// Auth is nil until AUTH succeeded.
	Auth *Auth
	// Relay says whether this client may relay.
	Relay bool
	// EarlyTalker says whether the client sent octets before it was its turn.
	EarlyTalker bool
	// Counters has commands, errors, unrecognized, transactions, rcpt_ok, rcpt_denied, and perhaps auth_failed.
	Counters map[string]int64
	// Forwarded is what a trusted client said by XFORWARD; empty if it said nothing.
	Forwarded map[string]string
}

// Transaction is the mail transaction as the frontend has it now.
type Transaction struct {
	// Raw is the object in the message.
	Raw map[string]any
	ID  string
	// Sender is nil at mail, where nothing is granted yet.
	Sender         *Address
	RecipientCount int64
	// RepliesEach says whether the client hears a reply for each recipient when the message has come (LMTP, PRDR).
	RepliesEach bool
	// HoldUntilMs is the time before which the message must not be released (RFC 4865), Unix milliseconds; 0: none.
	HoldUntilMs int64
}

// fields reads members of an object; what is there and is wrong is an error, what is not there is nothing.
type fields struct{ err *error }

func (f fields) wrong(name string) {
	if *f.err == nil {
		*f.err = fmt.Errorf("%s is wrong", name)
	}
}

func (f fields) octets(from map[string]any, name string) string {
	value := from[name]
	if value == nil {
		return ""
	}
	octets, err := wire.Octets(value)
	if err != nil {
		f.wrong(name)
	}
	return octets
}

func field[T any](f fields, from map[string]any, name string) T {
	value, is := from[name].(T)
	if !is && from[name] != nil {
		f.wrong(name)
	}
	return value
}

func (f fields) address(raw map[string]any) Address {
	made := Address{Address: f.octets(raw, "address"), Local: f.octets(raw, "local"), Domain: f.octets(raw, "domain")}
	for _, each := range field[[]any](f, raw, "params") {
		pair := list(each)
		if len(pair) != 2 {
			f.wrong("params")
			continue
		}
		param := map[string]any{"keyword": pair[0], "value": pair[1]}
		made.Params = append(made.Params, Param{f.octets(param, "keyword"), f.octets(param, "value"), pair[1] != nil})
	}
	return made
}

func (f fields) recipient(raw map[string]any) Recipient {
	a := f.address(raw)
	return Recipient{field[int64](f, raw, "id"), a.Address, a.Local, a.Domain, a.Params}
}

func (f fields) session(raw map[string]any) *Session {
	client, server := field[map[string]any](f, raw, "client"), field[map[string]any](f, raw, "server")
	made := &Session{
		Raw: raw, ID: field[string](f, raw, "id"), Listener: field[string](f, raw, "listener"), StartedMs: field[int64](f, raw, "started_ms"),
		ClientIP: field[string](f, client, "ip"), ClientPort: field[int64](f, client, "port"), ClientName: f.octets(client, "name"),
		ServerIP: field[string](f, server, "ip"), ServerPort: field[int64](f, server, "port"),
		Relay: field[bool](f, raw, "relay"), EarlyTalker: field[bool](f, raw, "early_talker"),
		Counters: map[string]int64{}, Forwarded: map[string]string{},
	}
	if hello := field[map[string]any](f, raw, "hello"); hello != nil {
		made.Hello = &Hello{field[string](f, hello, "verb"), f.octets(hello, "name")}
	}
	if tls := field[map[string]any](f, raw, "tls"); tls != nil {
		made.TLS = &TLS{Version: field[string](f, tls, "version"), Cipher: field[string](f, tls, "cipher"), SNI: field[string](f, tls, "sni")}
		if shown := field[map[string]any](f, tls, "client_certificate"); shown != nil {
			made.TLS.ClientCertificate = &ClientCertificate{
				Verified: field[bool](f, shown, "verified"), Subject: field[string](f, shown, "subject"), Issuer: field[string](f, shown, "issuer"),
				Fingerprint: field[string](f, shown, "fingerprint"), KeyFingerprint: field[string](f, shown, "key_fingerprint"),
			}
		}
	}
	if auth := field[map[string]any](f, raw, "auth"); auth != nil {
		made.Auth = &Auth{field[string](f, auth, "mechanism"), f.octets(auth, "user")}
	}
	for name := range field[map[string]any](f, raw, "counters") {
		made.Counters[name], _ = object(raw["counters"])[name].(int64)
	}
	for name, value := range field[map[string]any](f, raw, "xforward") {
		if value != nil {
			made.Forwarded[name] = f.octets(object(raw["xforward"]), name)
		}
	}
	return made
}

func (f fields) transaction(raw map[string]any) *Transaction {
	made := &Transaction{
		Raw: raw, ID: field[string](f, raw, "id"), RecipientCount: field[int64](f, raw, "recipient_count"),
		RepliesEach: field[bool](f, raw, "replies_each"), HoldUntilMs: field[int64](f, raw, "hold_until_ms"),
	}
	if sender := field[map[string]any](f, raw, "sender"); sender != nil {
		address := f.address(sender)
		made.Sender = &address
	}
	return made
}

// Event is a question to a handler, or, with ID 0, a notification. Its strings hold octets as SMTP has them, which may be no
// UTF-8. A handler, and what it starts, uses it from one goroutine at a time.
type Event struct {
	// Raw is the message itself; integers are int64, other numbers float64.
	Raw  map[string]any
	ID   int64
	Hook string
	// Key is the same for every attempt: the idempotency key. Empty for notifications.
	Key     string
	Attempt int64
	// Session is nil at status.
	Session *Session
	// Transaction is nil if there is none.
	Transaction *Transaction
	// Args are those of the hook (protocol/events.md).
	Args map[string]any
	// OutFolder is the pool's folder for files that ReplaceMessage names.
	OutFolder string

	began    time.Time
	allowed  time.Duration
	ctx      context.Context
	end      context.CancelFunc
	progress func(map[string]any)

	mutex        sync.Mutex
	extended     time.Duration
	cancelReason string
	started      bool
	atWork       string

	actions []Action
	trace   []any
	notes   map[string]map[string]any
}

func newEvent(raw map[string]any) (*Event, error) {
	var wrong error
	f := fields{&wrong}
	event := &Event{
		Raw: raw, ID: field[int64](f, raw, "id"), Hook: field[string](f, raw, "hook"), Key: field[string](f, raw, "key"),
		Attempt: field[int64](f, raw, "attempt"), Args: field[map[string]any](f, raw, "args"),
		began: time.Now(), progress: func(map[string]any) {}, notes: map[string]map[string]any{},
	}
	if ms := field[int64](f, raw, "deadline_ms"); ms < math.MaxInt64/int64(time.Millisecond) {
		event.allowed = time.Duration(ms) * time.Millisecond
	} else {
		event.allowed = math.MaxInt64
	}
	if session := field[map[string]any](f, raw, "session"); session != nil {
		event.Session = f.session(session)
	}
	if transaction := field[map[string]any](f, raw, "transaction"); transaction != nil {
		event.Transaction = f.transaction(transaction)
	}
	for _, name := range []string{"sender", "recipient"} {
		if address := field[map[string]any](f, event.asked(), name); address != nil {
			f.address(address)
		}
	}
	event.ctx, event.end = context.WithCancel(context.Background())
	return event, wrong
}

// What is asked

// asked are the args of what was asked: at deny and ok those of the hook that ended.
func (e *Event) asked() map[string]any {
	if e.Hook == "deny" || e.Hook == "ok" {
		return object(e.Args["args"])
	}
	return e.Args
}

// Argument is an argument of type Bytes, such as name or password; false if there is none.
func (e *Event) Argument(name string) (string, bool) {
	octets, err := wire.Octets(e.asked()[name])
	return octets, err == nil
}

// Sender is the reverse-path that is asked about at mail, later that of the transaction; nil if there is none.
func (e *Event) Sender() *Address {
	var wrong error
	if raw := object(e.asked()["sender"]); raw != nil {
		address := fields{&wrong}.address(raw)
		return &address
	}
	if e.Transaction == nil {
		return nil
	}
	return e.Transaction.Sender
}

// Recipient is the forward-path that is asked about at rcpt, and at deny and ok after it; nil elsewhere.
func (e *Event) Recipient() *Recipient {
	var wrong error
	raw := object(e.asked()["recipient"])
	if raw == nil {
		return nil
	}
	recipient := fields{&wrong}.recipient(raw)
	return &recipient
}

// Elided are the parts that were left out to fit the line: headers, or headers and recipients.
func (e *Event) Elided() []string {
	var parts []string
	for _, part := range list(e.Raw["elided"]) {
		if name, is := part.(string); is {
			parts = append(parts, name)
		}
	}
	return parts
}

func (e *Event) part(name string) (any, error) {
	if e.Transaction == nil {
		return nil, fmt.Errorf("there is no transaction at %s: %w", e.Hook, ErrNotThere)
	}
	if part, is := e.Transaction.Raw[name]; is {
		return part, nil
	}
	if contains(e.Elided(), name) {
		return nil, fmt.Errorf("%s did not fit into the event: %w", name, ErrNotThere)
	}
	return nil, fmt.Errorf("no %s at %s: it has to be in Needs, or comes at a later hook: %w", name, e.Hook, ErrNotThere)
}

// Recipients are those granted so far (Needs recipients). The error is ErrNotThere if they were not needed, or elided.
func (e *Event) Recipients() ([]Recipient, error) {
	part, err := e.part("recipients")
	if err != nil {
		return nil, err
	}
	var wrong error
	recipients := []Recipient{}
	for _, each := range list(part) {
		recipients = append(recipients, fields{&wrong}.recipient(object(each)))
	}
	return recipients, wrong
}

// Headers are the header fields as they are now (Needs headers). The error is ErrNotThere if they were not needed, or elided.
func (e *Event) Headers() ([]Header, error) {
	part, err := e.part("headers")
	if err != nil {
		return nil, err
	}
	var wrong error
	f := fields{&wrong}
	headers := []Header{}
	for _, each := range list(part) {
		raw := object(each)
		headers = append(headers, Header{field[int64](f, raw, "id"), f.octets(raw, "name"), f.octets(raw, "space"), f.octets(raw, "value")})
	}
	return headers, wrong
}

// Header is the first field of this name, compared without case (Needs headers); nil if there is none.
func (e *Event) Header(name string) (*Header, error) {
	headers, err := e.Headers()
	for index := range headers {
		if strings.EqualFold(headers[index].Name, name) {
			return &headers[index], err
		}
	}
	return nil, err
}

// Message is the spool file, as it came from the client (Needs message).
func (e *Event) Message() (Message, error) {
	part, err := e.part("message")
	if err != nil {
		return Message{}, err
	}
	var wrong error
	f := fields{&wrong}
	raw := object(part)
	return Message{field[string](f, raw, "path"), field[int64](f, raw, "size"), field[int64](f, raw, "body_offset")}, wrong
}

// Trace is what was answered in the session so far (Needs trace), as it stands in the message; nil if it was not needed.
func (e *Event) Trace() []any { return list(e.Raw["trace"]) }

// RecentFailures says at auth how many logins failed lately, from the client's address and of the user.
func (e *Event) RecentFailures() (address, user int64) {
	failed := object(e.asked()["failed"])
	address, _ = failed["address"].(int64)
	user, _ = failed["user"].(int64)
	return address, user
}

// Step is at auth which message of a login of several steps this is; 0 with other mechanisms.
func (e *Event) Step() int64 {
	step, _ := e.asked()["step"].(int64)
	return step
}

// State is at auth what a worker of this pool gave to Challenge at the step before; empty at the first.
func (e *Event) State() string {
	state, _ := e.Argument("state")
	return state
}

type joined struct {
	io.Reader
	io.Closer
}

// OpenMessage reads the message as it is now, edits of earlier pools included (Needs headers and message). Close it. The error
// is ErrNotThere if the header did not fit into the event: there is no part of a message.
func (e *Event) OpenMessage() (io.ReadCloser, error) {
	headers, err := e.Headers()
	if err != nil {
		return nil, err
	}
	var header strings.Builder
	for _, field := range headers {
		header.WriteString(field.Name + field.Space + ":" + field.Value + "\r\n")
	}
	body, err := e.OpenBody()
	if err != nil {
		return nil, err
	}
	return joined{io.MultiReader(strings.NewReader(header.String()), body), body}, nil
}

// OpenBody reads the body alone, with the empty line before it (Needs message). Close it.
func (e *Event) OpenBody() (io.ReadCloser, error) {
	message, err := e.Message()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(message.Path)
	if err != nil {
		return nil, err
	}
	if _, err = file.Seek(message.BodyOffset, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// ReadMessage is the whole message (Needs headers and message).
func (e *Event) ReadMessage() ([]byte, error) {
	message, err := e.OpenMessage()
	if err != nil {
		return nil, err
	}
	defer message.Close()
	return io.ReadAll(message)
}

// Time

// Remaining is the time until the frontend's deadline, less than 0 after it; for notifications the longest there is.
func (e *Event) Remaining() time.Duration {
	if e.ID == 0 {
		return math.MaxInt64
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.total() - time.Since(e.began)
}

func (e *Event) total() time.Duration {
	if e.extended > math.MaxInt64-e.allowed {
		return math.MaxInt64
	}
	return e.allowed + e.extended
}

// handlerTime is how long handlers may take, from now: a little less than the frontend waits.
func (e *Event) handlerTime() time.Duration {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	margin := e.total() / 20
	if margin > 250*time.Millisecond {
		margin = 250 * time.Millisecond
	}
	return e.total() - margin - time.Since(e.began)
}

// Progress asks for more time. It is counted in milliseconds; less than one is one.
func (e *Event) Progress(extend time.Duration) {
	ms := extend.Milliseconds()
	if ms < 1 {
		ms = 1
	}
	if e.ID == 0 {
		return
	}
	e.mutex.Lock()
	if e.extended < math.MaxInt64/2 {
		e.extended += time.Duration(ms) * time.Millisecond
	}
	e.mutex.Unlock()
	e.progress(map[string]any{"type": "progress", "id": e.ID, "extend_ms": ms})
}

// CancelReason says why no session waits for the answer any more: client_gone, deadline, shutdown, disconnected; "" while one
// waits. The handler's context is done then.
func (e *Event) CancelReason() string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.cancelReason
}

func (e *Event) cancel(reason string) {
	e.mutex.Lock()
	if e.cancelReason == "" {
		e.cancelReason = reason
	}
	if e.cancelReason == "" {
		e.cancelReason = "cancelled"
	}
	e.mutex.Unlock()
	e.end()
}

// begin notes that a plugin has the event now.
func (e *Event) begin(plugin string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.started, e.atWork = true, plugin
}

// worker tells whether a plugin has seen the event, and which has it now.
func (e *Event) worker() (started bool, plugin string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.started, e.atWork
}

// Notes

func (e *Event) scope(name string) map[string]any {
	if e.notes[name] == nil {
		copied, _ := wire.Plain(object(e.Raw["notes"])[name], name)
		if e.notes[name] = object(copied); e.notes[name] == nil {
			e.notes[name] = map[string]any{}
		}
	}
	return e.notes[name]
}

// SessionNotes are what plugins noted about the session. Change them freely: the changes go with the verdict. Integers are
// int64, other numbers float64, objects map[string]any, lists []any.
func (e *Event) SessionNotes() map[string]any { return e.scope("session") }

// TransactionNotes are the same for the transaction; nil, which cannot be written to, if there is none.
func (e *Event) TransactionNotes() map[string]any {
	if e.Transaction == nil {
		return nil
	}
	return e.scope("transaction")
}

// settle makes plain types of the notes, as the next plugin expects them.
func (e *Event) settle() error {
	for scope, notes := range e.notes {
		made, err := wire.Plain(notes, "notes."+scope)
		if err != nil {
			return err
		}
		e.notes[scope] = object(made)
	}
	return nil
}

// keep: what a plugin that declines asked for goes with the verdict of a later one.
func (e *Event) keep(verdict Verdict) error {
	e.take(verdict.Actions)
	for scope, patch := range verdict.patches() {
		made, err := wire.Plain(patch, "notes."+scope)
		if err != nil {
			return err
		}
		e.notes[scope] = object(merged(e.scope(scope), made))
	}
	return nil
}

func (v Verdict) patches() map[string]map[string]any {
	patches := map[string]map[string]any{}
	if v.SessionNotes != nil {
		patches["session"] = v.SessionNotes
	}
	if v.TransactionNotes != nil {
		patches["transaction"] = v.TransactionNotes
	}
	return patches
}

// patchOf is the merge patch (RFC 7396) that makes after out of before.
func patchOf(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for key, old := range before {
		if value, is := after[key]; old != nil && (!is || value == nil) {
			patch[key] = nil
		}
	}
	for key, value := range after {
		if value == nil || reflect.DeepEqual(before[key], value) {
			continue
		}
		if inner, is := value.(map[string]any); is {
			patch[key] = patchOf(object(before[key]), inner)
		} else {
			patch[key] = value
		}
	}
	return patch
}

// notesPatch is what goes with the verdict; nil if nothing changed.
func (e *Event) notesPatch(verdict Verdict) (map[string]any, error) {
	if err := e.settle(); err != nil {
		return nil, err
	}
	patches := map[string]any{}
	for scope, after := range e.notes {
		if patch := patchOf(object(object(e.Raw["notes"])[scope]), after); len(patch) > 0 {
			patches[scope] = patch
		}
	}
	for scope, patch := range verdict.patches() {
		made, err := wire.Plain(patch, "notes."+scope)
		if err != nil {
			return nil, err
		}
		both := map[string]any{}
		for key, value := range object(patches[scope]) {
			both[key] = value
		}
		for key, value := range object(made) {
			both[key] = value
		}
		patches[scope] = both
	}
	return patches, nil
}

// Changes (protocol/verdicts.md, Actions)

func (e *Event) nameOf(id int64) (any, string) {
	if e.Transaction != nil {
		for _, each := range list(e.Transaction.Raw["headers"]) {
			if raw := object(each); raw["id"] == id {
				return raw["name"], octetsOf(raw["name"])
			}
		}
	}
	return nil, ""
}

func (e *Event) replaces() bool { return len(e.actions) > 0 && e.actions[0]["op"] == "message.replace" }

// byName is the same change for the file of message.replace, where the field has an id that this worker does not know yet.
func (e *Event) byName(action Action) []Action {
	id, _ := action["id"].(int64)
	name, _ := e.nameOf(id)
	if action["op"] != "header.set" && action["op"] != "header.delete" || name == nil {
		return []Action{action}
	}
	remove := Action{"op": "header.delete_all", "name": name}
	if action["op"] == "header.delete" {
		return []Action{remove}
	}
	return []Action{remove, {"op": "header.add", "name": name, "value": action["value"], "at": "top"}}
}

func (e *Event) editHeader(action Action) {
	if e.replaces() {
		e.actions = append(e.actions, e.byName(action)...)
	} else {
		e.actions = append(e.actions, action)
	}
}

// take adds what a handler answered to what it asked for by the methods of Event.
func (e *Event) take(actions []Action) {
	for _, action := range actions {
		path, isText := action["path"].(string)
		switch op := action["op"]; {
		case op == "message.replace" && isText && path != "" && path == filepath.Base(path):
			e.ReplaceMessage(path)
		case op == "header.set" || op == "header.delete":
			e.editHeader(action)
		default:
			e.actions = append(e.actions, action)
		}
	}
}

// Actions are what handlers have asked to be changed so far.
func (e *Event) Actions() []Action { return append([]Action(nil), e.actions...) }

func (e *Event) legal(value, name string) any {
	return wire.Field(legal(value, len(name), hasSMTPUTF8(e.Raw)))
}

// AddHeader adds a header field above all others. A line over 998 octets is folded, octets above 127 are encoded (RFC 2047)
// where the message has no SMTPUTF8, and lines of white space alone are unfolded, here and in AppendHeader and SetHeader.
func (e *Event) AddHeader(name, value string) {
	e.actions = append(e.actions, Action{"op": "header.add", "name": wire.Field(name), "value": e.legal(value, name), "at": "top"})
}

// AppendHeader adds a header field below all others.
func (e *Event) AppendHeader(name, value string) {
	e.actions = append(e.actions, Action{"op": "header.add", "name": wire.Field(name), "value": e.legal(value, name), "at": "bottom"})
}

// SetHeader gives the field with this id another value.
func (e *Event) SetHeader(id int64, value string) {
	_, name := e.nameOf(id)
	e.editHeader(Action{"op": "header.set", "id": id, "value": e.legal(value, name)})
}

// DeleteHeader deletes the field with this id.
func (e *Event) DeleteHeader(id int64) { e.editHeader(Action{"op": "header.delete", "id": id}) }

// DeleteHeaders deletes all fields of this name.
func (e *Event) DeleteHeaders(name string) {
	e.actions = append(e.actions, Action{"op": "header.delete_all", "name": wire.Field(name)})
}

// AddRecipient adds a recipient.
func (e *Event) AddRecipient(address string) {
	e.actions = append(e.actions, Action{"op": "recipient.add", "address": wire.Field(address)})
}

// RemoveRecipient removes the recipient with this id.
func (e *Event) RemoveRecipient(id int64) {
	e.actions = append(e.actions, Action{"op": "recipient.remove", "id": id})
}

// ReplaceRecipient gives the recipient with this id another address.
func (e *Event) ReplaceRecipient(id int64, address string) {
	e.actions = append(e.actions, Action{"op": "recipient.replace", "id": id, "address": wire.Field(address)})
}

// RefuseRecipient refuses one recipient of a message that has come, with Deny or Denysoft; at data_post and queue. Where the
// client hears one reply for all (Transaction.RepliesEach is false), the whole message is refused.
func (e *Event) RefuseRecipient(id int64, verdict Verdict) {
	action := Action{"op": "recipient.refuse", "id": id, "verdict": string(verdict.word())}
	if reply := verdict.reply(); reply != nil {
		action["reply"] = reply
	}
	e.actions = append(e.actions, action)
}

// ReplaceSender gives the transaction another reverse-path; empty for <>.
func (e *Event) ReplaceSender(address string) {
	e.actions = append(e.actions, Action{"op": "sender.replace", "address": wire.Field(address)})
}

// NewMessagePath is a path in OutFolder for a file of this event alone; nothing is there yet.
func (e *Event) NewMessagePath() (string, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return filepath.Join(e.OutFolder, fmt.Sprintf("%d-%s", os.Getpid(), hex.EncodeToString(random[:]))), nil
}

// ReplaceMessage takes this file of OutFolder as the message. Write it there, with CRLF line ends, under a name of
// NewMessagePath. Changes of the header, made before or after, are made to the header of the file; there a field that was
// known by its id is known by its name.
func (e *Event) ReplaceMessage(path string) {
	actions := []Action{{"op": "message.replace", "path": filepath.Base(path)}}
	for _, action := range e.actions {
		if action["op"] != "message.replace" {
			actions = append(actions, e.byName(action)...)
		}
	}
	e.actions = actions
}

// SetRelay lets the client relay, or not.
func (e *Event) SetRelay(value bool) {
	e.actions = append(e.actions, Action{"op": "session.relay", "value": value})
}

// SetClientName names the client's host; "": it has no name.
func (e *Event) SetClientName(name string) {
	action := Action{"op": "session.client_name", "value": nil}
	if name != "" {
		action["value"] = wire.Field(name)
	}
	e.actions = append(e.actions, action)
}

// DelayReply holds the reply back: a tarpit.
func (e *Event) DelayReply(delay time.Duration) {
	e.actions = append(e.actions, Action{"op": "reply.delay", "ms": delay.Milliseconds()})
}

// Challenge is, at auth with a mechanism of several steps, what the client is sent, 8,192 octets at most. Its answer comes as
// another event, to any worker of this pool, with state, 4,096 octets at most. Return what this returns.
func (e *Event) Challenge(challenge, state string) Verdict {
	e.actions = append(e.actions, Action{"op": "auth.challenge", "challenge": wire.Field(challenge), "state": wire.Field(state)})
	return Verdict{Word: WordDone}
}
