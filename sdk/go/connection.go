package gatepost

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gatepost/internal/tables"
	"gatepost/internal/wire"
)

// Connection is one connection to a frontend without its socket: octets in; events to run, and octets to write, out. It is
// for one goroutine at a time.
type Connection struct {
	// Welcome is the frontend's welcome; nil before.
	Welcome map[string]any
	// Rejected is the frontend's reject, if that was its answer.
	Rejected map[string]any
	// Closed says that the connection is over: write what is left of Take, then close.
	Closed bool
	// CloseReason says why, for the log.
	CloseReason string
	// OnViolation is called with each violation: an answer of this worker that the frontend found invalid.
	OnViolation func(violation map[string]any)

	hello                    map[string]any
	frames                   wire.FrameDecoder
	outgoing                 []byte
	waiting                  map[int64]*Event
	drainSent, drainReceived bool
	peerMaxFrame             int64
	concurrency              int64
	outFolder                string
	guard                    func(func())
}

// NewConnection begins a connection with this hello; it has max_frame and concurrency as int64.
func NewConnection(hello map[string]any) *Connection {
	maxFrame, _ := hello["max_frame"].(int64)
	concurrency, _ := hello["concurrency"].(int64)
	c := &Connection{
		OnViolation: func(map[string]any) {}, hello: hello, frames: wire.FrameDecoder{MaxFrame: int(maxFrame)}, waiting: map[int64]*Event{},
		peerMaxFrame: tables.LimitHandshakeFrame, concurrency: concurrency, guard: func(run func()) { run() },
	}
	message := map[string]any{"type": "hello"}
	for key, value := range hello {
		message[key] = value
	}
	c.put(message)
	return c
}

// Outstanding is how many events wait for an answer.
func (c *Connection) Outstanding() int { return len(c.waiting) }

// Take are the octets to write now.
func (c *Connection) Take() []byte {
	octets := c.outgoing
	c.outgoing = nil
	return octets
}

// Receive takes octets of the frontend in any pieces, and gives the events and notifications (ID 0) to run now, in order. An
// event with a CancelReason has had its answer.
func (c *Connection) Receive(octets []byte) []*Event {
	var events []*Event
	if c.Closed {
		return nil
	}
	for _, line := range c.frames.Feed(octets) {
		message, err := wire.ParseLine(line)
		if err == nil {
			var event *Event
			if event, err = c.message(message); event != nil {
				events = append(events, event)
			}
		}
		if err != nil {
			c.fault(err)
		}
		if c.Closed {
			return events
		}
	}
	if c.frames.Broken != nil {
		c.fault(c.frames.Broken)
	}
	return events
}

// Lost says that the socket is closed: no answer is awaited any more.
func (c *Connection) Lost() {
	c.Closed = true
	for id, event := range c.waiting {
		delete(c.waiting, id)
		event.cancel("disconnected")
	}
}

// Drain says that the worker is told to stop: no further events, then bye.
func (c *Connection) Drain(reason string) {
	if c.Welcome == nil {
		c.Leave("stopping")
	} else if !c.drainSent {
		c.drainSent = true
		c.put(map[string]any{"type": "drain", "reason": reason})
		c.leaveIfDone()
	}
}

// Leave says bye with this code at once.
func (c *Connection) Leave(code string) { c.close(code, "") }

// Waits says whether the event waits for its answer.
func (c *Connection) Waits(event *Event) bool {
	return !c.Closed && event.ID != 0 && c.waiting[event.ID] == event
}

// Answer sends the verdict, or, if it breaks a rule, error with the code invalid_verdict; then it returns what is wrong, and
// the message names plugin, hook, rule, field and value. An event that has had its answer gets no other.
func (c *Connection) Answer(event *Event, verdict Verdict) *Violation {
	line, violation := prepare(event, verdict, c.peerMaxFrame)
	return c.commit(event, line, violation)
}

// prepare makes the line of a verdict, and checks it.
func prepare(event *Event, verdict Verdict, maxFrame int64) ([]byte, *Violation) {
	event.take(verdict.Actions)
	message := map[string]any{"type": "verdict", "id": event.ID, "verdict": string(verdict.word())}
	_, plugin := event.worker()
	if verdict.word() != WordDeclined && plugin != "" {
		message["plugin"] = plugin
	}
	if reply := verdict.reply(); reply != nil {
		made, err := wire.Plain(reply, "reply")
		if err != nil {
			return nil, &Violation{"", err.Error()}
		}
		message["reply"] = made
	}
	notes, err := event.notesPatch(verdict)
	if err != nil {
		return nil, &Violation{"", err.Error()}
	}
	if len(notes) > 0 {
		message["notes"] = notes
	}
	if len(event.actions) > 0 {
		actions, err := wire.Plain(event.actions, "actions")
		if err != nil {
			return nil, &Violation{"", err.Error()}
		}
		message["actions"] = actions
	}
	if len(event.trace) > 0 {
		message["trace"] = event.trace
	}
	if violation := Check(event.Raw, message); violation != nil {
		return nil, violation
	}
	line := wire.EncodeLine(message)
	if int64(len(line)) > maxFrame {
		return nil, &Violation{"", fmt.Sprintf("the verdict has %d octets, the frontend takes %d", len(line), maxFrame)}
	}
	return line, nil
}

func (c *Connection) commit(event *Event, line []byte, violation *Violation) *Violation {
	if !c.Waits(event) {
		return nil
	}
	if violation != nil {
		_, plugin := event.worker()
		name := plugin
		if name == "" {
			name = "a handler"
		}
		named := &Violation{violation.Rule, fmt.Sprintf("%s at %s: %s", name, event.Hook, violation.Error())}
		c.Fail(event, "invalid_verdict", true, named.Message, plugin)
		return named
	}
	delete(c.waiting, event.ID)
	c.outgoing = append(c.outgoing, line...)
	c.leaveIfDone()
	return nil
}

// Fail sends error; false if the event has had its answer.
func (c *Connection) Fail(event *Event, code string, started bool, message, plugin string) bool {
	if !c.Waits(event) {
		return false
	}
	delete(c.waiting, event.ID)
	c.error(event.ID, code, started, message, plugin)
	c.leaveIfDone()
	return true
}

// Messages

func (c *Connection) put(message map[string]any) {
	c.outgoing = append(c.outgoing, wire.EncodeLine(message)...)
}

// forPeople is a text that fits a message.
func forPeople(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if utf8.RuneCountInString(text) > tables.LimitFreeText {
		return string([]rune(text)[:tables.LimitFreeText])
	}
	return text
}

func (c *Connection) error(id int64, code string, started bool, message, plugin string) {
	said := map[string]any{"type": "error", "id": id, "code": code, "started": started}
	if plugin != "" {
		said["plugin"] = plugin
	}
	if message != "" {
		said["message"] = forPeople(message)
	}
	c.put(said)
}

func (c *Connection) fault(err error) {
	var fault *wire.ProtocolError
	if errors.As(err, &fault) {
		c.close(fault.Code, fault.Message)
	} else {
		c.close("bad_message", err.Error())
	}
}

func (c *Connection) close(code, message string) {
	if c.Closed {
		return
	}
	bye := map[string]any{"type": "bye", "code": code}
	c.CloseReason = code
	if message != "" {
		bye["message"] = forPeople(message)
		c.CloseReason += ": " + message
	}
	c.put(bye)
	c.Closed = true
}

func (c *Connection) leaveIfDone() {
	if c.drainSent && c.drainReceived && len(c.waiting) == 0 {
		c.close("drained", "")
	}
}

func (c *Connection) message(message map[string]any) (*Event, error) {
	kind, _ := message["type"].(string)
	side, isKnown := tables.Messages[kind]
	if !isKnown {
		return nil, &wire.ProtocolError{Code: "unknown_type", Message: "type " + shown(message["type"])}
	}
	if side == "worker" {
		return nil, &wire.ProtocolError{Code: "unexpected_message", Message: kind + " from a frontend"}
	}
	badMessage := func(what string) (*Event, error) { return nil, &wire.ProtocolError{Code: "bad_message", Message: what} }
	if kind == "bye" {
		c.Closed = true
		c.CloseReason = fmt.Sprintf("the frontend said bye: %v: %v", message["code"], message["message"])
		return nil, nil
	}
	if c.Welcome == nil {
		return nil, c.handshake(kind, message)
	}
	switch kind {
	case "event":
		return c.event(message)
	case "notify":
		hook, _ := message["hook"].(string)
		if _, isAsked := object(c.hello["hooks"])[hook]; !isAsked || !isObject(message["args"]) {
			return nil, nil
		}
		delete(message, "id")
		event, err := newEvent(message)
		if err != nil {
			return nil, nil
		}
		event.OutFolder = c.outFolder
		return event, nil
	case "cancel":
		if !isInteger(message["id"], 1) {
			return badMessage("cancel without an id")
		}
		id, _ := message["id"].(int64)
		if event := c.waiting[id]; event != nil {
			reason, _ := message["reason"].(string)
			event.cancel(reason)
			started, _ := event.worker()
			c.Fail(event, "cancelled", started, reason, "")
		}
	case "ping":
		if !isInteger(message["n"], -tables.LimitInteger) {
			return badMessage("ping without n")
		}
		c.put(map[string]any{"type": "pong", "n": message["n"]})
	case "drain":
		c.drainReceived = true
		reason, is := message["reason"].(string)
		if !is {
			reason = "draining"
		}
		c.Drain(reason)
		c.leaveIfDone()
	case "violation":
		c.OnViolation(message)
	case "pong":
	default:
		return nil, &wire.ProtocolError{Code: "unexpected_message", Message: kind + " after the welcome"}
	}
	return nil, nil
}

func (c *Connection) handshake(kind string, message map[string]any) error {
	switch kind {
	case "welcome":
		if message["protocol"] != int64(1) || !isInteger(message["max_frame"], tables.LimitLeastMaxFrame) {
			return &wire.ProtocolError{Code: "bad_message", Message: "welcome without protocol 1 or max_frame"}
		}
		c.Welcome = message
		c.peerMaxFrame, _ = message["max_frame"].(int64)
		if concurrency, is := message["concurrency"].(int64); is && concurrency >= 0 && concurrency < c.concurrency {
			c.concurrency = concurrency
		}
		if spool, is := message["spool"].(string); is {
			c.outFolder = fmt.Sprintf("%s/out/%v", spool, c.hello["pool"])
		}
		return nil
	case "reject":
		c.Rejected = message
		c.Closed = true
		c.CloseReason = fmt.Sprintf("rejected: %v: %v", message["code"], message["message"])
		return nil
	}
	return &wire.ProtocolError{Code: "unexpected_message", Message: kind + " before the welcome"}
}

func (c *Connection) event(message map[string]any) (*Event, error) {
	id, _ := message["id"].(int64)
	hook, isHook := message["hook"].(string)
	if id < 1 || !isHook {
		return nil, &wire.ProtocolError{Code: "bad_message", Message: "an event without an id or a hook"}
	}
	if c.waiting[id] != nil {
		return nil, &wire.ProtocolError{Code: "bad_message", Message: fmt.Sprintf("the id %d twice", id)}
	}
	if int64(len(c.waiting)) >= c.concurrency {
		c.error(id, "overloaded", false, fmt.Sprintf("more than %d events", c.concurrency), "")
		return nil, nil
	}
	if _, isAsked := object(c.hello["hooks"])[hook]; !isAsked {
		c.error(id, "not_subscribed", false, hook, "")
		return nil, nil
	}
	for _, part := range []string{"session", "args", "notes"} {
		if !isObject(message[part]) {
			c.error(id, "bad_event", true, part+" is missing or wrong", "")
			return nil, nil
		}
	}
	if !isInteger(message["deadline_ms"], 0) {
		c.error(id, "bad_event", true, "deadline_ms is missing or wrong", "")
		return nil, nil
	}
	event, err := newEvent(message)
	if err != nil {
		c.error(id, "bad_event", true, err.Error(), "")
		return nil, nil
	}
	event.OutFolder = c.outFolder
	event.progress = func(progress map[string]any) {
		c.guard(func() {
			if c.Waits(event) {
				c.put(progress)
			}
		})
	}
	c.waiting[id] = event
	return event, nil
}
