package gatepost

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"gatepost/internal/tables"
	"gatepost/internal/wire"
)

// Violation is the rule that a verdict breaks (protocol/verdicts.md, Invalid verdicts), and where.
type Violation struct {
	// Rule is the violation's id, such as reply_text; "" if the verdict is no JSON, or too long for a line.
	Rule string
	// Message names the field, its value, and what is wrong: reply.text[0]: "é": not ASCII …
	Message string
}

func (v *Violation) Error() string {
	if v.Rule == "" {
		return v.Message
	}
	return v.Rule + ": " + v.Message
}

func broken(rule, format string, arguments ...any) *Violation {
	return &Violation{rule, fmt.Sprintf(format, arguments...)}
}

// shown is a value as the message of an error shows it.
func shown(value any) string {
	text := []rune(string(wire.AppendJSON(nil, value)))
	if len(text) > 80 {
		return string(text[:77]) + "…"
	}
	return string(text)
}

var hookNamed = func() map[string]tables.Hook {
	named := map[string]tables.Hook{}
	for _, hook := range tables.Hooks {
		named[hook.Name] = hook
	}
	return named
}()

func contains[T comparable](list []T, wanted T) bool {
	for _, each := range list {
		if each == wanted {
			return true
		}
	}
	return false
}

func object(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}

func list(value any) []any {
	found, _ := value.([]any)
	return found
}

func isText(value any) bool {
	_, is := value.(string)
	return is
}

func isObject(value any) bool {
	_, is := value.(map[string]any)
	return is
}

func isInteger(value any, lowest int64) bool {
	number, is := value.(int64)
	return is && number >= lowest
}

func isShort(value any) bool {
	text, is := value.(string)
	return is && utf8.RuneCountInString(text) <= tables.LimitShortText
}

func isVerdict(value any) bool {
	word, is := value.(string)
	return is && contains(tables.Verdicts, word)
}

// merged is what a merge patch leaves of the target (RFC 7396); neither is changed.
func merged(target, patch any) any {
	changes, isPatch := patch.(map[string]any)
	if !isPatch {
		return patch
	}
	result := map[string]any{}
	for key, value := range object(target) {
		result[key] = value
	}
	for key, value := range changes {
		if value == nil {
			delete(result, key)
		} else {
			result[key] = merged(result[key], value)
		}
	}
	return result
}

// Check says whether a verdict may be sent as the answer to an event, both as they stand on their lines: nil, or the first
// rule that is broken.
//
// What only the frontend knows is not looked at: the file of message.replace, the limit of recipients, octets above 127 in a
// field that is added, and in an address that is no UTF-8.
func Check(event, verdict map[string]any) *Violation {
	if violation := checkForm(verdict); violation != nil {
		return violation
	}
	return checkRules(event, verdict)
}

// Form

func checkForm(verdict map[string]any) *Violation {
	if !isVerdict(verdict["verdict"]) {
		return broken("unknown_verdict", "verdict: %s is none of %s", shown(verdict["verdict"]), strings.Join(tables.Verdicts, ", "))
	}
	if hook := verdict["hook"]; hook != nil {
		name, _ := hook.(string)
		if _, isHook := hookNamed[name]; !isHook {
			return broken("hook_not_reached", "hook: %s is no hook", shown(hook))
		}
	}
	if plugin := verdict["plugin"]; plugin != nil && !isShort(plugin) {
		return broken("plugin_malformed", "plugin: %s: not a string of at most %d characters", shown(plugin), tables.LimitShortText)
	}
	if violation := formOfReply(verdict["reply"], "reply", "reply_malformed"); violation != nil {
		return violation
	}
	if violation := formOfNotes(verdict["notes"]); violation != nil {
		return violation
	}
	if violation := formOfActions(verdict["actions"]); violation != nil {
		return violation
	}
	return formOfTrace(verdict["trace"])
}

func formOfReply(value any, where, rule string) *Violation {
	if value == nil {
		return nil
	}
	reply, is := value.(map[string]any)
	if !is {
		return broken(rule, "%s: %s: not an object", where, shown(value))
	}
	if code := reply["code"]; code != nil && !isInteger(code, -tables.LimitInteger) {
		return broken(rule, "%s.code: %s: not an integer", where, shown(code))
	}
	if status := reply["status"]; status != nil && !isText(status) {
		return broken(rule, "%s.status: %s: not a string", where, shown(status))
	}
	if reply["text"] == nil {
		return nil
	}
	text, is := reply["text"].([]any)
	if !is {
		return broken(rule, "%s.text: %s: not a list", where, shown(reply["text"]))
	}
	for index, line := range text {
		if !isText(line) {
			return broken(rule, "%s.text[%d]: %s: not a string", where, index, shown(line))
		}
	}
	return nil
}

func formOfNotes(value any) *Violation {
	if value == nil {
		return nil
	}
	notes, is := value.(map[string]any)
	if !is {
		return broken("notes_malformed", "notes: %s: not an object", shown(value))
	}
	for _, scope := range []string{"session", "transaction"} {
		patch, isThere := notes[scope]
		if isThere && !isObject(patch) {
			return broken("notes_malformed", "notes.%s: %s: not an object", scope, shown(patch))
		}
		if violation := distinct(patch, "notes."+scope); violation != nil {
			return violation
		}
	}
	return nil
}

// distinct finds two keys that differ only in Unicode composition: they are one key in some languages.
func distinct(value any, where string) *Violation {
	for index, item := range list(value) {
		if violation := distinct(item, fmt.Sprintf("%s[%d]", where, index)); violation != nil {
			return violation
		}
	}
	keys := map[string]bool{}
	for key, item := range object(value) {
		canonical := wire.Canonical(key)
		if keys[canonical] {
			return broken("notes_malformed", "%s: %s: a key twice, in two Unicode compositions", where, shown(key))
		}
		keys[canonical] = true
		if violation := distinct(item, where+"."+key); violation != nil {
			return violation
		}
	}
	return nil
}

// wrongInField says what is wrong with a field of an action; "" if nothing.
func wrongInField(op, field string, value any, isThere bool) string {
	_, octetsProblem := wire.Octets(value)
	switch {
	case op == "session.relay":
		if _, is := value.(bool); !is {
			return "not a boolean"
		}
	case op == "session.client_name":
		if octetsProblem != nil && (value != nil || !isThere) {
			return "neither Bytes nor null"
		}
	case field == "path":
		if !isText(value) {
			return "not a string"
		}
	case field == "verdict":
		if value != "deny" && value != "denysoft" {
			return "neither deny nor denysoft"
		}
	case field == "id":
		if !isInteger(value, -tables.LimitInteger) {
			return "not an integer"
		}
	case field == "ms":
		if !isInteger(value, 0) {
			return "not an integer of 0 or more"
		}
	case octetsProblem != nil:
		return octetsProblem.Error()
	}
	return ""
}

func formOfActions(value any) *Violation {
	if value == nil {
		return nil
	}
	actions, is := value.([]any)
	if !is {
		return broken("actions_malformed", "actions: %s: not a list", shown(value))
	}
	var unknown *Violation
	for index, each := range actions {
		where := fmt.Sprintf("actions[%d]", index)
		action := object(each)
		op, is := action["op"].(string)
		if !is {
			return broken("actions_malformed", "%s: %s: not an object with a string op", where, shown(each))
		}
		fields, is := tables.Actions[op]
		if !is {
			if unknown == nil {
				unknown = broken("unknown_action", "%s.op: %s is no action", where, shown(op))
			}
			continue
		}
		for _, field := range fields {
			value, isThere := action[field]
			if wrong := wrongInField(op, field, value, isThere); wrong != "" {
				return broken("actions_malformed", "%s.%s: %s: %s", where, field, shown(value), wrong)
			}
		}
		if at := action["at"]; op == "header.add" && at != nil && at != "top" && at != "bottom" {
			return broken("actions_malformed", "%s.at: %s: neither top nor bottom", where, shown(at))
		}
		if op == "recipient.refuse" {
			if violation := formOfReply(action["reply"], where+".reply", "reply_malformed"); violation != nil {
				return violation
			}
		}
	}
	if len(actions) > tables.LimitActions {
		return broken("too_many_actions", "actions: %d of them, at most %d", len(actions), tables.LimitActions)
	}
	return unknown
}

func formOfTrace(value any) *Violation {
	if value == nil {
		return nil
	}
	trace, is := value.([]any)
	if !is || len(trace) > tables.LimitTrace {
		return broken("trace_malformed", "trace: not a list of at most %d", tables.LimitTrace)
	}
	for index, entry := range trace {
		if said := object(entry); !isShort(said["plugin"]) || !isVerdict(said["verdict"]) || !isInteger(said["us"], 0) {
			return broken("trace_malformed", "trace[%d]: %s: not plugin, verdict and us", index, shown(entry))
		}
	}
	return nil
}

// What the parts say

func hasSMTPUTF8(event map[string]any) bool {
	sender := object(object(event["args"])["sender"])
	if sender == nil {
		sender = object(object(event["transaction"])["sender"])
	}
	for _, each := range list(sender["params"]) {
		if pair := list(each); len(pair) > 0 && pair[0] == "SMTPUTF8" {
			return true
		}
	}
	return false
}

func checkRules(event, verdict map[string]any) *Violation {
	word, _ := verdict["verdict"].(string)
	hook, _ := event["hook"].(string)
	if about, is := verdict["hook"].(string); is && about != hook {
		if _, isAhead := object(event["ahead"])[about]; !isAhead {
			return broken("hook_not_reached", "hook: %s: the event is about %s", shown(about), hook)
		}
		hook = about
	}
	about := hookNamed[hook]
	if !contains(about.Verdicts, word) {
		allowed := "nothing"
		if about.Asked {
			allowed = strings.Join(about.Verdicts, ", ")
		}
		return broken("verdict_not_allowed", "verdict: %s at %s: %s may be answered there", word, hook, allowed)
	}
	utf8 := hasSMTPUTF8(event)
	if violation := ruleOfReply(object(verdict["reply"]), word, about, utf8, "reply"); violation != nil {
		return violation
	}
	notes := object(verdict["notes"])
	if len(object(notes["transaction"])) > 0 && !isObject(event["transaction"]) {
		return broken("notes_no_transaction", "notes.transaction: %s: there is no transaction at %s", shown(notes["transaction"]), hook)
	}
	for _, scope := range []string{"session", "transaction"} {
		if !isObject(notes[scope]) {
			continue
		}
		for _, value := range []any{notes[scope], merged(object(event["notes"])[scope], notes[scope])} {
			if octets := len(wire.AppendJSON(nil, value)); octets > tables.LimitNotesOctets {
				return broken("notes_too_large", "notes.%s: %d octets, at most %d", scope, octets, tables.LimitNotesOctets)
			}
		}
	}
	var actions []map[string]any
	for _, each := range list(verdict["actions"]) {
		actions = append(actions, object(each))
	}
	for index, action := range actions {
		if violation := ruleOfAction(action, index, about, utf8); violation != nil {
			return violation
		}
	}
	if hook == "auth" {
		if violation := ruleOfChallenge(event, word, actions); violation != nil {
			return violation
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return newEffects(event, hook, utf8).apply(actions)
}

var enhancedStatus = regexp.MustCompile(`^[0-9]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})$`)

func ruleOfReply(reply map[string]any, word string, hook tables.Hook, allowsUTF8 bool, where string) *Violation {
	isLine := hook.OKReply == "text" && word == "ok"
	isChallenge := hook.Name == "auth" && word == "done"
	code, hasCode := reply["code"].(int64)
	status, hasStatus := reply["status"].(string)
	text, hasText := reply["text"].([]any)
	needed := "code and text"
	if isLine {
		needed = "text"
	}
	if !hasCode && !hasStatus && !hasText {
		if word == "done" && !isChallenge || isLine {
			return broken("reply_missing", "%s: %s at %s needs %s", where, word, hook.Name, needed)
		}
		return nil
	}
	if isChallenge {
		return broken("reply_not_allowed", "%s: done at auth is answered with a challenge", where)
	}
	if word == "done" && (!hasCode || !hasText) || isLine && !hasText {
		return broken("reply_missing", "%s: %s at %s needs %s", where, word, hook.Name, needed)
	}
	if word == "declined" || word == "ok" && hook.OKReply == "none" || hook.OKReply == "text" && (hasCode || hasStatus) {
		return broken("reply_not_allowed", "%s: %s: the client would not get it with %s at %s", where, shown(reply), word, hook.Name)
	}
	if hasCode && !isCode(code, word, hook) {
		return broken("reply_code", "%s.code: %d: not for %s at %s", where, code, word, hook.Name)
	}
	if hasStatus {
		class := int64(2)
		switch {
		case hasCode:
			class = code / 100
		case strings.HasPrefix(word, "denysoft"):
			class = 4
		case strings.HasPrefix(word, "deny"), hook.Name == "unrecognized_command":
			class = 5
		}
		if !enhancedStatus.MatchString(status) || int64(status[0]-'0') != class {
			return broken("reply_status", "%s.status: %s: not an enhanced status code of class %d", where, shown(status), class)
		}
	}
	if !hasText {
		return nil
	}
	isEmpty := true
	for _, line := range text {
		isEmpty = isEmpty && line == ""
	}
	if len(text) < 1 || len(text) > tables.LimitReplyLines || isLine && isEmpty {
		return broken("reply_text", "%s.text: %d lines, 1 to %d are allowed", where, len(text), tables.LimitReplyLines)
	}
	for index, each := range text {
		line, _ := each.(string)
		wrong := ""
		switch {
		case len(line) > tables.LimitReplyLineOctets:
			wrong = fmt.Sprintf("over %d octets", tables.LimitReplyLineOctets)
		case strings.IndexFunc(line, isControl) >= 0:
			wrong = "a control character"
		case !allowsUTF8 && !isASCII(line):
			wrong = "not ASCII, and the session has no SMTPUTF8"
		}
		if wrong != "" {
			return broken("reply_text", "%s.text[%d]: %s: %s", where, index, shown(line), wrong)
		}
	}
	return nil
}

func isControl(character rune) bool {
	return character < 0x20 || character >= 0x7f && character < 0xa0 || character == 0x2028 || character == 0x2029
}

func isCode(code int64, word string, hook tables.Hook) bool {
	if code < 200 || code > 599 || code/10%10 > 5 {
		return false
	}
	closes, class := code == 421 || code == 521, code/100
	switch word {
	case "ok":
		return contains(hook.OKCodes, code)
	case "deny":
		return class == 5 && (!closes || hook.Name == "connect")
	case "denysoft":
		return class == 4 && (!closes || hook.Name == "connect")
	case "deny_disconnect":
		return class == 5
	case "denysoft_disconnect":
		return class == 4
	}
	if hook.Name == "quit" {
		return code == 221
	}
	return class != 3 && !closes && code != 221
}

// isVisible says whether the text has 1 to so many octets of 33 to 126.
func isVisible(text string, most int) bool {
	for at := 0; at < len(text); at++ {
		if text[at] < 33 || text[at] > 126 {
			return false
		}
	}
	return len(text) >= 1 && len(text) <= most
}

func octetsOf(value any) string {
	octets, _ := wire.Octets(value)
	return octets
}

func ruleOfAction(action map[string]any, index int, hook tables.Hook, utf8 bool) *Violation {
	where := fmt.Sprintf("actions[%d]", index)
	op, _ := action["op"].(string)
	if !contains(hook.Actions, op) {
		return broken("action_not_allowed", "%s.op: %s: not at %s", where, shown(op), hook.Name)
	}
	if op == "header.add" || op == "header.delete_all" {
		if name := octetsOf(action["name"]); !isVisible(name, tables.LimitHeaderNameOctets) || strings.Contains(name, ":") {
			return broken("header_name", "%s.name: %s: not a field name of 1 to %d octets", where, shown(action["name"]), tables.LimitHeaderNameOctets)
		}
	}
	switch op {
	case "header.add", "header.set":
		if wrong := wrongInValue(octetsOf(action["value"])); wrong != "" {
			return broken("header_value", "%s.value: %s: %s", where, shown(action["value"]), wrong)
		}
	case "session.client_name":
		if value := action["value"]; value != nil && !isVisible(octetsOf(value), tables.LimitClientNameOctets) {
			return broken("value_invalid", "%s.value: %s: not a host name", where, shown(value))
		}
	case "message.replace":
		path, _ := action["path"].(string)
		if index > 0 {
			return broken("action_not_allowed", "%s.op: message.replace is the first action", where)
		}
		if path == "" || path == "." || path == ".." || strings.ContainsAny(path, "/\x00") || len(path) > tables.LimitPathOctets {
			return broken("path_invalid", "%s.path: %s: not a bare file name", where, shown(path))
		}
	case "recipient.refuse":
		word, _ := action["verdict"].(string)
		return ruleOfReply(object(action["reply"]), word, hook, utf8, where+".reply")
	case "auth.challenge":
		for field, most := range map[string]int{"challenge": tables.LimitChallengeOctets, "state": tables.LimitStateOctets} {
			if octets := len(octetsOf(action[field])); octets > most {
				return broken("challenge_too_large", "%s.%s: %d octets, at most %d", where, field, octets, most)
			}
		}
	}
	return nil
}

// wrongInValue says what of a header value may not stand in a message, whatever the session; "" if nothing.
func wrongInValue(value string) string {
	if len(value) > tables.LimitHeaderValueOctets {
		return fmt.Sprintf("over %d octets", tables.LimitHeaderValueOctets)
	}
	if strings.Contains(value, "\x00") {
		return "a NUL"
	}
	for index, line := range splitFolds(value) {
		switch {
		case strings.Contains(line, "\r"):
			return "a bare CR"
		case strings.Contains(line, "\n"):
			return "a bare LF"
		case index > 0 && strings.Trim(line, " \t") == "":
			return "a line of white space alone"
		}
	}
	return ""
}

func ruleOfChallenge(event map[string]any, word string, actions []map[string]any) *Violation {
	count := 0
	for _, action := range actions {
		if action["op"] == "auth.challenge" {
			count++
		}
	}
	switch {
	case word != "done" && count > 0:
		return broken("challenge_not_allowed", "actions: auth.challenge with %s", word)
	case word != "done":
		return nil
	case count == 0:
		return broken("challenge_missing", "actions: done at auth without auth.challenge")
	case count > 1:
		return broken("challenge_not_allowed", "actions: auth.challenge more than once")
	}
	args := object(event["args"])
	step, _ := args["step"].(int64)
	if step < 1 {
		return broken("challenge_not_allowed", "actions: the mechanism %s has one step", shown(args["mechanism"]))
	}
	if step >= tables.LimitLoginSteps {
		return broken("challenge_not_allowed", "actions: no step is left after %d", step)
	}
	return nil
}

const (
	atext = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-\\x{80}-\\x{10ffff}]"
	label = `[A-Za-z0-9_\x{80}-\x{10ffff}](?:[A-Za-z0-9_\-\x{80}-\x{10ffff}]*[A-Za-z0-9_\x{80}-\x{10ffff}])?`
)

var (
	localPart = regexp.MustCompile(`^(?:` + atext + `+(?:\.` + atext + `+)*|"(?:[ !#-\[\]-~\x{80}-\x{10ffff}]|\\[ -~])*")$`)
	domainOf  = regexp.MustCompile(`^(?:` + label + `(?:\.` + label + `)*|\[[!-Z^-~]+\])$`)
)

// wrongInAddress says what is wrong with an address as it would stand between < and >; "" if nothing. The frontend's parser
// is the judge.
func wrongInAddress(address string, allowsUTF8, mayBeEmpty bool) string {
	switch {
	case !utf8.ValidString(address):
		return "" // the frontend's parser knows
	case address == "" && mayBeEmpty:
		return ""
	case address == "":
		return "empty"
	case !allowsUTF8 && !isASCII(address):
		return "not ASCII, and the session has no SMTPUTF8"
	case !mayBeEmpty && strings.EqualFold(address, "postmaster"):
		return ""
	case len(address)+2 > 256:
		return "longer than a path of SMTP"
	}
	at := strings.LastIndex(address, "@")
	if at < 1 || !localPart.MatchString(address[:at]) || !domainOf.MatchString(address[at+1:]) {
		return "not an address"
	}
	domain := address[at+1:]
	if len(domain) > 255 {
		return "a domain over 255 octets"
	}
	for _, each := range strings.Split(domain, ".") {
		if domain[0] != '[' && len(each) > 63 && isASCII(each) {
			return "a label over 63 octets"
		}
	}
	return ""
}

type headerField struct{ name, value string }

// effects is what the actions would leave of the lists that the event has; a list that it has not is nil.
type effects struct {
	hook                             string
	utf8                             bool
	fields                           map[int64]headerField
	values                           map[string]bool
	recipients                       map[int64]bool
	candidate                        int64
	replaced, added, removed, refuse bool
}

func newEffects(event map[string]any, hook string, utf8 bool) *effects {
	e := &effects{hook: hook, utf8: utf8, values: map[string]bool{}}
	transaction := object(event["transaction"])
	if headers, is := transaction["headers"].([]any); is {
		e.fields = map[int64]headerField{}
		for _, each := range headers {
			field := object(each)
			id, _ := field["id"].(int64)
			e.fields[id] = headerField{octetsOf(field["name"]), octetsOf(field["value"])}
			e.values[e.fields[id].value] = true
		}
	}
	if recipients, is := transaction["recipients"].([]any); is {
		e.recipients = map[int64]bool{}
		for _, each := range recipients {
			id, _ := object(each)["id"].(int64)
			e.recipients[id] = true
		}
	}
	if hook == "rcpt" {
		e.candidate, _ = object(object(event["args"])["recipient"])["id"].(int64)
	}
	return e
}

func (e *effects) isRecipient(id int64) bool {
	return id >= 1 && (e.recipients == nil || e.recipients[id])
}

func (e *effects) apply(actions []map[string]any) *Violation {
	for index, action := range actions {
		op, _ := action["op"].(string)
		id, _ := action["id"].(int64)
		wrong := func(rule, field, what string) *Violation {
			return broken(rule, "actions[%d].%s: %s: %s", index, field, shown(action[field]), what)
		}
		switch op {
		case "message.replace":
			e.replaced = true
		case "header.add":
			// Octets above 127 are the frontend's to judge: it knows all fields that the message had.
			value := octetsOf(action["value"])
			if problem := wrongOnLine(len(octetsOf(action["name"])), value, true); problem != "" && !e.values[spaced(value)] {
				return wrong("header_value", "value", problem)
			}
		case "header.set", "header.delete":
			field, isKnown := e.fields[id]
			if id < 1 || !e.replaced && e.fields != nil && !isKnown {
				return wrong("unknown_header", "id", "no field has it")
			}
			if e.replaced || !isKnown {
				continue
			}
			if op == "header.delete" {
				delete(e.fields, id)
				continue
			}
			if problem := wrongOnLine(len(field.name), octetsOf(action["value"]), e.utf8 || !isASCII(field.value)); problem != "" {
				return wrong("header_value", "value", problem)
			}
		case "header.delete_all":
			for id, field := range e.fields {
				if strings.EqualFold(field.name, octetsOf(action["name"])) {
					delete(e.fields, id)
				}
			}
		case "recipient.remove", "recipient.refuse":
			if !e.isRecipient(id) || op == "recipient.remove" && id == e.candidate {
				return wrong("unknown_recipient", "id", "no recipient has it")
			}
			delete(e.recipients, id)
			e.refuse = e.refuse || op == "recipient.refuse"
			e.removed = e.removed || op == "recipient.remove"
		case "recipient.add", "recipient.replace", "sender.replace":
			if problem := wrongInAddress(octetsOf(action["address"]), e.utf8, op == "sender.replace"); problem != "" {
				return wrong("address_invalid", "address", problem)
			}
			e.added = e.added || op == "recipient.add"
			if op == "recipient.replace" && (id < 1 || id != e.candidate) && !e.isRecipient(id) {
				return wrong("unknown_recipient", "id", "no recipient has it")
			}
		}
	}
	if e.removed && e.recipients != nil && len(e.recipients) == 0 && !e.added && !e.refuse && e.hook != "rcpt" {
		return broken("no_recipients", "actions: no recipient would be left")
	}
	return nil
}

// spaced is the value as it stands in the message: one that begins without white space gets a space in front.
func spaced(value string) string {
	if value == "" || strings.ContainsAny(value[:1], " \t\r") {
		return value
	}
	return " " + value
}

func wrongOnLine(nameOctets int, value string, allows8Bit bool) string {
	before := nameOctets + 1
	for _, line := range strings.Split(spaced(value), "\r\n") {
		if before+len(line) > tables.LimitHeaderLineOctets {
			return fmt.Sprintf("a line over %d octets", tables.LimitHeaderLineOctets)
		}
		before = 0
	}
	if !allows8Bit && !isASCII(value) {
		return "octets above 127, and the message has no SMTPUTF8"
	}
	return ""
}
