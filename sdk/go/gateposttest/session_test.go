package gateposttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatepost"
)

const message = "From: Bob <bob@example.net>\nSubject: x\n\nbody\n"

type handler = func(event *gatepost.Event) gatepost.Verdict

func simple(answer handler) gatepost.Handler {
	return func(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) { return answer(event), nil }
}

func worker(hook string, answer handler, options ...gatepost.Option) *gatepost.Worker {
	made := gatepost.NewWorker("test")
	made.Handle(hook, simple(answer), append([]gatepost.Option{gatepost.Plugin("greet")}, options...)...)
	return made
}

// failing is a session whose failures are kept.
func failing(t *testing.T, made *gatepost.Worker) (*Session, *[]*Failure) {
	var failures []*Failure
	session := NewSession(t, made)
	session.Fail = func(failure *Failure) { failures = append(failures, failure) }
	return session, &failures
}

func TestInvalidVerdictsNameRuleAndValue(t *testing.T) {
	declined := gatepost.Declined()
	for _, row := range []struct {
		hook     string
		answer   handler
		expected string
	}{
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Deny("é") }, `^greet at rcpt: reply_text: reply\.text\[0\]: "é": not ASCII, and the session has no SMTPUTF8$`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Deny("x").WithCode(250, "") }, `reply_code: reply\.code: 250: not for deny at rcpt$`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Deny("x").WithCode(0, "4.7.1") }, `reply_status: reply\.status: "4\.7\.1": not an enhanced status code of class 5$`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Deny("\xff") }, `reply\.text\[0\]: not UTF-8$`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Done(250, "x") }, `verdict_not_allowed: verdict: done at rcpt`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return gatepost.Verdict{Word: "maybe"} }, `unknown_verdict: verdict: "maybe"`},
		{"rcpt", func(e *gatepost.Event) gatepost.Verdict { e.AddRecipient("a b@c"); return declined }, `address_invalid: actions\[0\]\.address: "a b@c": not an address$`},
		{"rcpt", func(e *gatepost.Event) gatepost.Verdict { e.SessionNotes()["f"] = func() {}; return declined }, `notes\.session\.f: func\(\) is not JSON$`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict {
			return gatepost.OK().WithSessionNotes(map[string]any{"f": math.NaN()})
		}, `notes\.session\.f: NaN is not JSON$`},
		{"rcpt", func(e *gatepost.Event) gatepost.Verdict {
			e.SessionNotes()["big"] = strings.Repeat("x", 70_000)
			return declined
		}, `notes_too_large: notes\.session: 700\d\d octets, at most 65536$`},
		{"rcpt", func(e *gatepost.Event) gatepost.Verdict {
			e.SessionNotes()["é"], e.SessionNotes()["e\u0301"] = 1, 2
			return declined
		}, `notes_malformed: .*twice`},
		{"rcpt", func(*gatepost.Event) gatepost.Verdict { return declined.WithActions(gatepost.Action{"op": 7}) }, `actions_malformed`},
		{"data_post", func(*gatepost.Event) gatepost.Verdict {
			return declined.WithActions(gatepost.Action{"op": "header.add", "name": "X-A", "value": "a\nb"})
		}, `^greet at data_post: header_value: actions\[0\]\.value: "a\\nb": a bare LF$`},
		{"data_post", func(e *gatepost.Event) gatepost.Verdict { e.AddHeader("A B", "x"); return declined }, `header_name: actions\[0\]\.name: "A B"`},
		{"data_post", func(e *gatepost.Event) gatepost.Verdict { e.DeleteHeader(99); return declined }, `unknown_header: .*99`},
		{"data_post", func(e *gatepost.Event) gatepost.Verdict { e.RefuseRecipient(1, gatepost.OK()); return declined }, `actions_malformed: actions\[0\]\.verdict: "ok"`},
		{"data_post", func(e *gatepost.Event) gatepost.Verdict {
			path, _ := e.NewMessagePath()
			e.ReplaceMessage(path)
			return declined
		}, `^file_refused`},
	} {
		session, failures := failing(t, worker(row.hook, row.answer))
		session.Mail("bob@example.net")
		session.Rcpt("jo@example.org")
		if row.hook == "data_post" {
			session.Message(message)
		}
		if len(*failures) != 1 || (*failures)[0].Code != "invalid_verdict" || !regexp.MustCompile(row.expected).MatchString((*failures)[0].Message) {
			t.Errorf("%s: %v", row.expected, *failures)
		}
	}
}

func TestWhateverAHandlerDoes(t *testing.T) {
	cause := errors.New("out of it")
	for expected, run := range map[string]gatepost.Handler{
		"exception: out of it": func(context.Context, *gatepost.Event) (gatepost.Verdict, error) { return gatepost.OK(), cause },
		"exception: panic: out of it": func(context.Context, *gatepost.Event) (gatepost.Verdict, error) {
			panic(cause)
		},
		"exception: panic: the handler ended its goroutine": func(context.Context, *gatepost.Event) (gatepost.Verdict, error) {
			runtime.Goexit()
			return gatepost.OK(), nil
		},
		"deadline: connect took longer than its deadline": func(ctx context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
			<-ctx.Done()
			return gatepost.OK(), nil
		},
	} {
		made := gatepost.NewWorker("test")
		made.Connect(run, gatepost.Plugin("broken"))
		session, failures := failing(t, made)
		session.Deadline = 100 * time.Millisecond
		session.Connect()
		if len(*failures) != 1 || (*failures)[0].Error() != expected || (*failures)[0].Plugin != "broken" {
			t.Errorf("%s: %v", expected, *failures)
		} else if strings.HasSuffix(expected, "out of it") && !errors.Is((*failures)[0], cause) {
			t.Errorf("%s: %v", expected, (*failures)[0].Cause)
		}
	}
}

func TestAHandlerThatDoesNotEndKeepsItsPlace(t *testing.T) {
	release := make(chan struct{})
	made := worker("noop", func(event *gatepost.Event) gatepost.Verdict {
		if argument, _ := event.Argument("argument"); argument == "hang" {
			<-release
		}
		return gatepost.OK()
	})
	made.Concurrency = 1
	session, failures := failing(t, made)
	session.Deadline = 60 * time.Millisecond
	session.Noop("hang")
	session.Noop("")
	if fmt.Sprint(*failures) != "[deadline: noop took longer than its deadline overloaded: handlers of earlier events do not end]" {
		t.Error(*failures)
	}
	close(release)
	session.Deadline = 10 * time.Second
	if verdict := session.Noop(""); verdict.Word != gatepost.WordOK {
		t.Error(verdict)
	}
}

func TestProgressMovesTheDeadline(t *testing.T) {
	session := NewSession(t, worker("connect", func(event *gatepost.Event) gatepost.Verdict {
		before := event.Remaining()
		event.Progress(time.Hour)
		if event.Remaining()-before < 59*time.Minute {
			return gatepost.Deny("no")
		}
		return gatepost.OK()
	}))
	if verdict := session.Connect(); verdict.Word != gatepost.WordOK {
		t.Error(verdict)
	}
}

func TestSeveralHandlers(t *testing.T) {
	made := worker("rcpt", func(event *gatepost.Event) gatepost.Verdict {
		event.SessionNotes()["first"] = 1
		event.SetRelay(true)
		return gatepost.Declined().WithSessionNotes(map[string]any{"given": true}).WithActions(gatepost.Action{"op": "reply.delay", "ms": 5})
	})
	made.Rcpt(simple(func(event *gatepost.Event) gatepost.Verdict {
		if event.SessionNotes()["given"] == true && event.SessionNotes()["first"] == int64(1) {
			return gatepost.Denysoft("later").WithTransactionNotes(map[string]any{"seen": 1})
		}
		return gatepost.OK()
	}))
	session := NewSession(t, made)
	session.Mail("")
	if verdict := session.Rcpt("jo@example.org"); verdict.String() != "denysoft later" || verdict.Plugin != "rcpt" {
		t.Error(verdict, verdict.Plugin)
	}
	if !reflect.DeepEqual(session.SessionNotes, map[string]any{"first": int64(1), "given": true}) ||
		!reflect.DeepEqual(session.TransactionNotes, map[string]any{"seen": int64(1)}) {
		t.Error(session.SessionNotes, session.TransactionNotes)
	}
	if !session.Relay || session.Delay != 5*time.Millisecond || session.Sender() != "" || len(session.Recipients()) != 0 {
		t.Error(session.Relay, session.Delay)
	}
}

func TestNotesAreMergePatches(t *testing.T) {
	session := NewSession(t, worker("noop", func(event *gatepost.Event) gatepost.Verdict {
		delete(event.SessionNotes(), "old")
		event.SessionNotes()["deep"].(map[string]any)["b"] = []string{"x"}
		return gatepost.Declined()
	}))
	session.SessionNotes = map[string]any{"old": 1, "deep": map[string]any{"a": 1}, "kept": 0.5}
	session.Noop("")
	patch := map[string]any{"old": nil, "deep": map[string]any{"b": []any{"x"}}}
	if !reflect.DeepEqual(session.LastVerdict.SessionNotes, patch) {
		t.Error(session.LastVerdict.SessionNotes)
	}
	if fmt.Sprint(session.SessionNotes) != "map[deep:map[a:1 b:[x]] kept:0.5]" {
		t.Error(session.SessionNotes)
	}
}

func TestTheMessage(t *testing.T) {
	var seen, file string
	made := worker("data_post_headers", func(event *gatepost.Event) gatepost.Verdict {
		subject, _ := event.Header("Subject")
		event.SetHeader(subject.ID, "[list] x")
		event.DeleteHeaders("x-old")
		event.AppendHeader("X-Last", "Grüße")
		return gatepost.Declined()
	}, gatepost.Needs("headers"))
	made.DataPost(func(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
		octets, err := event.ReadMessage()
		if err != nil {
			return gatepost.Verdict{}, err
		}
		seen = string(octets)
		spooled, err := event.Message()
		if err != nil {
			return gatepost.Verdict{}, err
		}
		octets, err = os.ReadFile(spooled.Path)
		file = string(octets)
		body, _ := event.OpenBody()
		defer body.Close()
		if octets, _ := io.ReadAll(body); string(octets) != "\r\nbody\r\n" {
			return gatepost.Deny(string(octets)), nil
		}
		path, pathError := event.NewMessagePath()
		if pathError != nil {
			return gatepost.Verdict{}, pathError
		}
		if err := os.WriteFile(path, []byte(strings.Replace(seen, "body", "other", 1)), 0o600); err != nil {
			return gatepost.Verdict{}, err
		}
		from, _ := event.Header("from")
		event.SetHeader(from.ID, "al@example.net")
		event.ReplaceMessage(path)
		return gatepost.Declined(), err
	}, gatepost.Needs("headers", "message"))
	session := NewSession(t, made)
	session.Mail("bob@example.net")
	session.Rcpt("jo@example.org")
	session.Message("From: Bob <bob@example.net>\r\nX-Old: 1\r\nSubject : x\r\n\r\nbody\r\n")
	if file != "From: Bob <bob@example.net>\r\nX-Old: 1\r\nSubject : x\r\n\r\nbody\r\n" {
		t.Errorf("%q", file)
	}
	if seen != "From: Bob <bob@example.net>\r\nSubject: [list] x\r\nX-Last: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nbody\r\n" {
		t.Errorf("%q", seen)
	}
	var names []string
	for _, field := range session.Headers() {
		names = append(names, field.Name)
	}
	if fmt.Sprint(names) != "[From Subject X-Last]" || session.Header("from") != "al@example.net" {
		t.Error(names, session.Header("From"))
	}
}

func TestAPartThatWasNotAskedForIsAnError(t *testing.T) {
	made := gatepost.NewWorker("test")
	made.DataPost(func(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
		_, err := event.Headers()
		return gatepost.Declined(), err
	})
	session, failures := failing(t, made)
	session.Mail("bob@example.net")
	session.Rcpt("jo@example.org")
	session.Message(message)
	if len(*failures) != 1 || !errors.Is((*failures)[0], gatepost.ErrNotThere) || !strings.Contains((*failures)[0].Message, "Needs") {
		t.Error(*failures)
	}
}

func TestAuth(t *testing.T) {
	session := NewSession(t, worker("auth", func(event *gatepost.Event) gatepost.Verdict {
		password, _ := event.Argument("password")
		switch {
		case event.Step() == 1:
			return event.Challenge("prove it", "state-1")
		case event.Step() == 2 && event.State() == "state-1" || password == "right":
			return gatepost.OK()
		}
		return gatepost.Deny()
	}))
	if verdict := session.Auth("jo", Proof{Password: "wrong"}); verdict.Word != gatepost.WordDeny || session.User != "" {
		t.Error(verdict)
	}
	if verdict := session.Auth("jo", Proof{Step: 1, Response: "n,,n=jo"}); verdict.Word != gatepost.WordDone {
		t.Error(verdict)
	}
	if !reflect.DeepEqual(session.LastChallenge, &Challenge{"prove it", "state-1"}) {
		t.Error(session.LastChallenge)
	}
	session.Auth("jo", Proof{Step: 2, Response: "c=biws", State: session.LastChallenge.State})
	if session.User != "jo" || !session.Relay || session.Mechanism != "SCRAM-SHA-256" {
		t.Error(session.User, session.Relay)
	}
}

func TestEnvelopeAndSession(t *testing.T) {
	const raw = "m\xfcller\x80"
	name := ""
	made := worker("ehlo", func(event *gatepost.Event) gatepost.Verdict {
		name = event.Session.Hello.Name
		event.SetClientName("mail.example.net")
		return gatepost.Declined()
	})
	made.Helo(simple(func(event *gatepost.Event) gatepost.Verdict { return gatepost.Declined() }))
	made.DataPost(simple(func(event *gatepost.Event) gatepost.Verdict {
		recipients, err := event.Recipients()
		if err != nil || len(recipients) != 2 {
			panic(fmt.Sprint(recipients, err))
		}
		event.ReplaceSender("")
		event.ReplaceRecipient(recipients[0].ID, "new@example.org")
		event.RefuseRecipient(recipients[1].ID, gatepost.Deny("not here"))
		event.AddRecipient("NEW@example.org")
		event.AddRecipient("new@EXAMPLE.org")
		return gatepost.Declined()
	}), gatepost.Needs("recipients"))
	session, failures := failing(t, made)
	session.Ehlo(raw)
	if name != raw || session.ClientName != "" {
		// At ehlo no client name may be set: the verdict is invalid, and nothing of it is applied.
		t.Errorf("%q %q", name, session.ClientName)
	}
	if len(*failures) != 1 || !strings.Contains((*failures)[0].Message, "action_not_allowed") {
		t.Error(*failures)
	}
	session.Mail("bob@example.net", "BODY=8BITMIME")
	session.Rcpt(`"j\"o"@example.org`)
	session.Rcpt("al@example.org")
	session.Message(message)
	if got := fmt.Sprint(session.Recipients()); got != "[new@example.org NEW@example.org]" || session.Sender() != "" {
		t.Error(got, session.Sender(), *failures)
	}
	if len(session.RefusedRecipients) != 1 || session.RefusedRecipients[0].Recipient.Local != "al" || session.RefusedRecipients[0].Verdict.String() != "deny not here" {
		t.Error(session.RefusedRecipients)
	}
}

func TestWhatOnlyTells(t *testing.T) {
	var told []any
	tell := simple(func(event *gatepost.Event) gatepost.Verdict {
		told = append(told, event.Args["reason"])
		return gatepost.OK()
	})
	made := gatepost.NewWorker("test")
	made.Disconnect(func(ctx context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
		_, _ = tell(ctx, event)
		panic("no harm")
	})
	made.ResetTransaction(tell)
	made.Noop(func(_ context.Context, event *gatepost.Event) (gatepost.Verdict, error) {
		told = append(told, event.Args["argument"])
		return gatepost.Deny(), nil
	}, gatepost.Observe())
	session := NewSession(t, made)
	session.Mail("bob@example.net")
	if verdict := session.Noop("seen"); verdict.Word != gatepost.WordDeclined {
		t.Error(verdict)
	}
	session.Disconnect("quit")
	if fmt.Sprint(told) != "[seen disconnect quit]" {
		t.Error(told)
	}
}

func TestWrongRegistrations(t *testing.T) {
	nothing := simple(func(*gatepost.Event) gatepost.Verdict { return gatepost.Declined() })
	for expected, register := range map[string]func(*gatepost.Worker){
		`there is no hook "rctp"`: func(w *gatepost.Worker) { w.Handle("rctp", nothing) },
		`there is no need "body"`: func(w *gatepost.Worker) { w.Rcpt(nothing, gatepost.Needs("body")) },
		`asked at queue`:          func(w *gatepost.Worker) { w.Rcpt(nothing, gatepost.Extensions("FUTURERELEASE")) },
		`observed or decided`:     func(w *gatepost.Worker) { w.Rcpt(nothing); w.Rcpt(nothing, gatepost.Observe()) },
		`is nil`:                  func(w *gatepost.Worker) { w.Rcpt(nil) },
		`a worker's name is`:      func(w *gatepost.Worker) { w.Name = "a b" },
		`a pool's name is`:        func(w *gatepost.Worker) { w.Pool = "A" },
		`Concurrency is`:          func(w *gatepost.Worker) { w.Concurrency = -1 },
		`MaxFrame is`:             func(w *gatepost.Worker) { w.MaxFrame = 1 },
	} {
		made := gatepost.NewWorker("test")
		register(made)
		if err := made.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), expected) {
			t.Error(expected, err)
		}
	}
}
