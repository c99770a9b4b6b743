// Package tables is made by generate.go of protocol/hooks.json and protocol/words.json.
package tables

// Hook is what may be answered at a hook; a hook that only tells has no verdicts.
type Hook struct {
	Name     string
	Asked    bool
	Verdicts []string
	OKCodes  []int64
	OKReply  string
	Actions  []string
}

// Hooks are all hooks in the order of the dialogue.
var Hooks = []Hook{
	{Name: "connect", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{220}, OKReply: "reply", Actions: []string{"session.relay", "session.client_name", "reply.delay"}},
	{Name: "helo", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{250}, OKReply: "reply", Actions: []string{"session.relay", "reply.delay"}},
	{Name: "ehlo", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{250}, OKReply: "reply", Actions: []string{"session.relay", "reply.delay"}},
	{Name: "auth", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"}, OKCodes: []int64{235}, OKReply: "reply", Actions: []string{"session.relay", "reply.delay", "auth.challenge"}},
	{Name: "mail", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{250}, OKReply: "reply", Actions: []string{"sender.replace", "session.relay", "reply.delay"}},
	{Name: "rcpt", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{250, 251}, OKReply: "reply", Actions: []string{"recipient.add", "recipient.remove", "recipient.replace", "sender.replace", "session.relay", "reply.delay"}},
	{Name: "data", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{354}, OKReply: "reply", Actions: []string{"recipient.add", "recipient.remove", "recipient.replace", "sender.replace"}},
	{Name: "data_headers_end", Asked: true, Verdicts: []string{"declined", "ok", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{}, OKReply: "none", Actions: []string{"header.add", "header.set", "header.delete", "header.delete_all", "recipient.add", "recipient.remove", "recipient.replace", "sender.replace"}},
	{Name: "received_line", Asked: true, Verdicts: []string{"declined", "ok"}, OKCodes: []int64{}, OKReply: "text", Actions: []string{}},
	{Name: "data_post_headers", Asked: true, Verdicts: []string{"declined", "ok"}, OKCodes: []int64{}, OKReply: "none", Actions: []string{"header.add", "header.set", "header.delete", "header.delete_all", "recipient.add", "recipient.remove", "recipient.replace", "sender.replace", "message.replace"}},
	{Name: "data_post", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"}, OKCodes: []int64{}, OKReply: "none", Actions: []string{"header.add", "header.set", "header.delete", "header.delete_all", "recipient.add", "recipient.remove", "recipient.replace", "recipient.refuse", "sender.replace", "message.replace"}},
	{Name: "queue_pre", Asked: true, Verdicts: []string{"declined", "ok", "done"}, OKCodes: []int64{}, OKReply: "none", Actions: []string{"header.add", "header.set", "header.delete", "header.delete_all", "recipient.add", "recipient.remove", "recipient.replace", "sender.replace"}},
	{Name: "queue", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect"}, OKCodes: []int64{250}, OKReply: "reply", Actions: []string{"recipient.refuse"}},
	{Name: "vrfy", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"}, OKCodes: []int64{250, 251, 252}, OKReply: "reply", Actions: []string{}},
	{Name: "help", Asked: true, Verdicts: []string{"declined", "ok", "deny", "done"}, OKCodes: []int64{211, 214}, OKReply: "reply", Actions: []string{}},
	{Name: "noop", Asked: true, Verdicts: []string{"declined", "ok", "deny", "deny_disconnect", "done"}, OKCodes: []int64{250}, OKReply: "reply", Actions: []string{}},
	{Name: "unrecognized_command", Asked: true, Verdicts: []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"}, OKCodes: []int64{500}, OKReply: "reply", Actions: []string{}},
	{Name: "quit", Asked: true, Verdicts: []string{"declined", "ok", "done"}, OKCodes: []int64{221}, OKReply: "reply", Actions: []string{}},
	{Name: "reset_transaction", Asked: false},
	{Name: "queue_post", Asked: false},
	{Name: "deny", Asked: false},
	{Name: "ok", Asked: false},
	{Name: "disconnect", Asked: false},
	{Name: "status", Asked: false},
}

// Messages has the side that sends each message type.
var Messages = map[string]string{
	"hello":     "worker",
	"welcome":   "frontend",
	"reject":    "frontend",
	"event":     "frontend",
	"notify":    "frontend",
	"verdict":   "worker",
	"error":     "worker",
	"progress":  "worker",
	"cancel":    "frontend",
	"violation": "frontend",
	"ping":      "both",
	"pong":      "both",
	"drain":     "both",
	"bye":       "both",
}

// Verdicts are the words of a verdict.
var Verdicts = []string{"declined", "ok", "deny", "denysoft", "deny_disconnect", "denysoft_disconnect", "done"}

// Needs are the parts of an event that a worker gets only if it names them.
var Needs = []string{"recipients", "headers", "message", "trace"}

// Actions has the fields that each action needs.
var Actions = map[string][]string{
	"header.add":          []string{"name", "value"},
	"header.set":          []string{"id", "value"},
	"header.delete":       []string{"id"},
	"header.delete_all":   []string{"name"},
	"recipient.add":       []string{"address"},
	"recipient.remove":    []string{"id"},
	"recipient.replace":   []string{"id", "address"},
	"recipient.refuse":    []string{"id", "verdict"},
	"sender.replace":      []string{"address"},
	"message.replace":     []string{"path"},
	"session.relay":       []string{"value"},
	"session.client_name": []string{"value"},
	"reply.delay":         []string{"ms"},
	"auth.challenge":      []string{"challenge", "state"},
}

// Octets, characters, or counts.
const (
	LimitActions            = 256
	LimitAttempts           = 8
	LimitChallengeOctets    = 8192
	LimitClientNameOctets   = 255
	LimitCode               = 64
	LimitConcurrency        = 65535
	LimitDefaultConcurrency = 1
	LimitDefaultMaxFrame    = 65536
	LimitExtensions         = 64
	LimitFreeText           = 1024
	LimitHandshakeFrame     = 65536
	LimitHeaderLineOctets   = 998
	LimitHeaderNameOctets   = 255
	LimitHeaderValueOctets  = 65536
	LimitInteger            = 9007199254740991
	LimitLeastMaxFrame      = 65536
	LimitLoginSteps         = 8
	LimitLosses             = 3
	LimitMostMaxFrame       = 16777216
	LimitNesting            = 32
	LimitNotesOctets        = 65536
	LimitPathOctets         = 255
	LimitPlugins            = 1024
	LimitPoolName           = 64
	LimitProgress           = 100
	LimitReplyLineOctets    = 500
	LimitReplyLines         = 20
	LimitSdkMaxFrame        = 1048576
	LimitShortText          = 128
	LimitStateOctets        = 4096
	LimitTrace              = 256
	LimitWorkerName         = 64
)
