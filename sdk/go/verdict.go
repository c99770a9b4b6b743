package gatepost

import (
	"fmt"
	"strings"
)

// Word is what a verdict says (protocol/verdicts.md).
type Word string

// The words of a verdict.
const (
	WordDeclined           Word = "declined"
	WordOK                 Word = "ok"
	WordDeny               Word = "deny"
	WordDenysoft           Word = "denysoft"
	WordDenyDisconnect     Word = "deny_disconnect"
	WordDenysoftDisconnect Word = "denysoft_disconnect"
	WordDone               Word = "done"
)

// Action is one change, as it stands in the message: op and its fields. Methods of Event make them.
type Action = map[string]any

// Verdict is what a handler answers. The zero Verdict is declined.
type Verdict struct {
	Word Word
	// Code and Status are the reply's codes; 0 and "" for those of the hook.
	Code   int
	Status string
	// Text is what the client is told, a line each; empty for the frontend's own text.
	Text []string
	// SessionNotes and TransactionNotes are merge patches (RFC 7396); nil as a value deletes.
	SessionNotes, TransactionNotes map[string]any
	Actions                        []Action
	// Plugin is the plugin that decided, in what a gateposttest.Session returns; else "".
	Plugin string
}

func verdict(word Word, text []string) Verdict {
	made := Verdict{Word: word}
	for _, part := range text {
		for _, line := range strings.Split(strings.ReplaceAll(part, "\r\n", "\n"), "\n") {
			if line != "" {
				made.Text = append(made.Text, line)
			}
		}
	}
	return made
}

// Declined says nothing: the next plugin is asked, then the next pool.
func Declined() Verdict { return Verdict{Word: WordDeclined} }

// OK is decided: allowed, and no other plugin is asked.
func OK(text ...string) Verdict { return verdict(WordOK, text) }

// Deny refuses for good: a 5yz reply.
func Deny(text ...string) Verdict { return verdict(WordDeny, text) }

// Denysoft refuses for now: a 4yz reply.
func Denysoft(text ...string) Verdict { return verdict(WordDenysoft, text) }

// DenyDisconnect refuses as Deny, then the connection is closed.
func DenyDisconnect(text ...string) Verdict { return verdict(WordDenyDisconnect, text) }

// DenysoftDisconnect refuses as Denysoft, then the connection is closed.
func DenysoftDisconnect(text ...string) Verdict { return verdict(WordDenysoftDisconnect, text) }

// Done sends exactly this reply: nothing else is done, and no other plugin is asked.
func Done(code int, text ...string) Verdict { return verdict(WordDone, text).WithCode(code, "") }

// WithCode is the verdict with these codes, such as 550 and "5.1.1"; "" for the status that fits.
func (v Verdict) WithCode(code int, status string) Verdict {
	v.Code, v.Status = code, status
	return v
}

// WithSessionNotes is the verdict with this merge patch for the session's notes.
func (v Verdict) WithSessionNotes(patch map[string]any) Verdict {
	v.SessionNotes = patch
	return v
}

// WithTransactionNotes is the verdict with this merge patch for the transaction's notes.
func (v Verdict) WithTransactionNotes(patch map[string]any) Verdict {
	v.TransactionNotes = patch
	return v
}

// WithActions is the verdict with these actions after those that it has.
func (v Verdict) WithActions(actions ...Action) Verdict {
	v.Actions = append(append([]Action(nil), v.Actions...), actions...)
	return v
}

// IsRefusal says whether the verdict refuses, for good or for now.
func (v Verdict) IsRefusal() bool { return strings.HasPrefix(string(v.Word), "deny") }

func (v Verdict) word() Word {
	if v.Word == "" {
		return WordDeclined
	}
	return v.Word
}

// reply is the reply as it stands in the message; nil if nothing of it is given.
func (v Verdict) reply() map[string]any {
	reply := map[string]any{}
	if v.Code != 0 {
		reply["code"] = int64(v.Code)
	}
	if v.Status != "" {
		reply["status"] = v.Status
	}
	if len(v.Text) > 0 {
		text := make([]any, len(v.Text))
		for index, line := range v.Text {
			text[index] = line
		}
		reply["text"] = text
	}
	if len(reply) == 0 {
		return nil
	}
	return reply
}

// String is the verdict for people: deny 550 5.1.6 eve has left.
func (v Verdict) String() string {
	parts := []string{string(v.word())}
	if v.Code != 0 {
		parts = append(parts, fmt.Sprint(v.Code))
	}
	if v.Status != "" {
		parts = append(parts, v.Status)
	}
	return strings.Join(append(parts, v.Text...), " ")
}
