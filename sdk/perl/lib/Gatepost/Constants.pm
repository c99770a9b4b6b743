# Made by sdk/perl/generate of protocol/hooks.json and words.json.
package Gatepost::Constants;
use strict;
use warnings;
our @HOOKS = @{[
  "connect",
  "helo",
  "ehlo",
  "auth",
  "mail",
  "rcpt",
  "data",
  "data_headers_end",
  "received_line",
  "data_post_headers",
  "data_post",
  "queue_pre",
  "queue",
  "vrfy",
  "help",
  "noop",
  "unrecognized_command",
  "quit",
  "reset_transaction",
  "queue_post",
  "deny",
  "ok",
  "disconnect",
  "status"
]
};
our %HOOKS = %{{
  "auth" => {
    "actions" => [
      "session.relay",
      "reply.delay",
      "auth.challenge"
    ],
    "asked" => 1,
    "ok_codes" => [
      235
    ],
    "ok_reply" => "reply",
    "transaction" => "no",
    "verdicts" => {
      "declined" => "535 5.7.8",
      "deny" => "535 5.7.8",
      "deny_disconnect" => "535 5.7.8, close",
      "denysoft" => "454 4.7.0",
      "denysoft_disconnect" => "421 4.7.0, close",
      "done" => 334,
      "ok" => "235 2.7.0"
    }
  },
  "connect" => {
    "actions" => [
      "session.relay",
      "session.client_name",
      "reply.delay"
    ],
    "asked" => 1,
    "ok_codes" => [
      220
    ],
    "ok_reply" => "reply",
    "transaction" => "no",
    "verdicts" => {
      "declined" => 220,
      "deny" => "554 5.7.1, close",
      "deny_disconnect" => "554 5.7.1, close",
      "denysoft" => "421 4.7.0, close",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => 220
    }
  },
  "data" => {
    "actions" => [
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "sender.replace"
    ],
    "asked" => 1,
    "ok_codes" => [
      354
    ],
    "ok_reply" => "reply",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => 354,
      "deny" => "554 5.7.1",
      "deny_disconnect" => "554 5.7.1, close",
      "denysoft" => "451 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => 354
    }
  },
  "data_headers_end" => {
    "actions" => [
      "header.add",
      "header.set",
      "header.delete",
      "header.delete_all",
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "sender.replace"
    ],
    "asked" => 1,
    "ok_codes" => [],
    "ok_reply" => "none",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "go on",
      "deny_disconnect" => "554 5.7.1, close",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => "go on"
    }
  },
  "data_post" => {
    "actions" => [
      "header.add",
      "header.set",
      "header.delete",
      "header.delete_all",
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "recipient.refuse",
      "sender.replace",
      "message.replace"
    ],
    "asked" => 1,
    "ok_codes" => [],
    "ok_reply" => "none",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "go on",
      "deny" => "554 5.7.1",
      "deny_disconnect" => "554 5.7.1, close",
      "denysoft" => "451 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "done" => "reply",
      "ok" => "go on"
    }
  },
  "data_post_headers" => {
    "actions" => [
      "header.add",
      "header.set",
      "header.delete",
      "header.delete_all",
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "sender.replace",
      "message.replace"
    ],
    "asked" => 1,
    "ok_codes" => [],
    "ok_reply" => "none",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "go on",
      "ok" => "go on"
    }
  },
  "deny" => {
    "asked" => 0,
    "transaction" => "maybe"
  },
  "disconnect" => {
    "asked" => 0,
    "transaction" => "no"
  },
  "ehlo" => {
    "actions" => [
      "session.relay",
      "reply.delay"
    ],
    "asked" => 1,
    "ok_codes" => [
      250
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => 250,
      "deny" => "550 5.7.1",
      "deny_disconnect" => "550 5.7.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => 250
    }
  },
  "helo" => {
    "actions" => [
      "session.relay",
      "reply.delay"
    ],
    "asked" => 1,
    "ok_codes" => [
      250
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => 250,
      "deny" => "550 5.7.1",
      "deny_disconnect" => "550 5.7.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => 250
    }
  },
  "help" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [
      211,
      214
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => "214 2.0.0",
      "deny" => "502 5.5.1",
      "done" => "reply",
      "ok" => "214 2.0.0"
    }
  },
  "mail" => {
    "actions" => [
      "sender.replace",
      "session.relay",
      "reply.delay"
    ],
    "asked" => 1,
    "ok_codes" => [
      250
    ],
    "ok_reply" => "reply",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "250 2.1.0",
      "deny" => "550 5.7.1",
      "deny_disconnect" => "550 5.7.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => "250 2.1.0"
    }
  },
  "noop" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [
      250
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => "250 2.0.0",
      "deny" => "500 5.5.1",
      "deny_disconnect" => "500 5.5.1, close",
      "done" => "reply",
      "ok" => "250 2.0.0"
    }
  },
  "ok" => {
    "asked" => 0,
    "transaction" => "maybe"
  },
  "queue" => {
    "actions" => [
      "recipient.refuse"
    ],
    "asked" => 1,
    "ok_codes" => [
      250
    ],
    "ok_reply" => "reply",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "451 4.3.0",
      "deny" => "554 5.7.1",
      "deny_disconnect" => "554 5.7.1, close",
      "denysoft" => "451 4.3.0",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => "250 2.0.0"
    }
  },
  "queue_post" => {
    "asked" => 0,
    "transaction" => "yes"
  },
  "queue_pre" => {
    "actions" => [
      "header.add",
      "header.set",
      "header.delete",
      "header.delete_all",
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "sender.replace"
    ],
    "asked" => 1,
    "ok_codes" => [],
    "ok_reply" => "none",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "go on",
      "done" => "reply",
      "ok" => "go on"
    }
  },
  "quit" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [
      221
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => "221 2.0.0",
      "done" => "reply",
      "ok" => "221 2.0.0"
    }
  },
  "rcpt" => {
    "actions" => [
      "recipient.add",
      "recipient.remove",
      "recipient.replace",
      "sender.replace",
      "session.relay",
      "reply.delay"
    ],
    "asked" => 1,
    "ok_codes" => [
      250,
      251
    ],
    "ok_reply" => "reply",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "450 4.7.1",
      "deny" => "550 5.7.1",
      "deny_disconnect" => "550 5.7.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "ok" => "250 2.1.5"
    }
  },
  "received_line" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [],
    "ok_reply" => "text",
    "transaction" => "yes",
    "verdicts" => {
      "declined" => "go on",
      "ok" => "go on"
    }
  },
  "reset_transaction" => {
    "asked" => 0,
    "transaction" => "yes"
  },
  "status" => {
    "asked" => 0,
    "transaction" => "no"
  },
  "unrecognized_command" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [
      500
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => "500 5.5.1",
      "deny" => "500 5.5.1",
      "deny_disconnect" => "521 5.5.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "done" => "reply",
      "ok" => "500 5.5.1"
    }
  },
  "vrfy" => {
    "actions" => [],
    "asked" => 1,
    "ok_codes" => [
      250,
      251,
      252
    ],
    "ok_reply" => "reply",
    "transaction" => "maybe",
    "verdicts" => {
      "declined" => "252 2.0.0",
      "deny" => "550 5.7.1",
      "deny_disconnect" => "550 5.7.1, close",
      "denysoft" => "450 4.7.1",
      "denysoft_disconnect" => "421 4.7.0, close",
      "done" => "reply",
      "ok" => "250 2.0.0"
    }
  }
}
};
our %WORDS = %{{
  "actions" => {
    "auth.challenge" => [
      "challenge",
      "state"
    ],
    "header.add" => [
      "name",
      "value"
    ],
    "header.delete" => [
      "id"
    ],
    "header.delete_all" => [
      "name"
    ],
    "header.set" => [
      "id",
      "value"
    ],
    "message.replace" => [
      "path"
    ],
    "recipient.add" => [
      "address"
    ],
    "recipient.refuse" => [
      "id",
      "verdict"
    ],
    "recipient.remove" => [
      "id"
    ],
    "recipient.replace" => [
      "id",
      "address"
    ],
    "reply.delay" => [
      "ms"
    ],
    "sender.replace" => [
      "address"
    ],
    "session.client_name" => [
      "value"
    ],
    "session.relay" => [
      "value"
    ]
  },
  "broken_lines" => [
    "frame_too_long",
    "bad_frame",
    "unknown_type",
    "unexpected_message",
    "bad_message"
  ],
  "bye_codes" => {
    "drained" => "worker",
    "quarantined" => "frontend",
    "shutdown" => "frontend",
    "slow_reader" => "frontend",
    "stopping" => "worker",
    "timeout" => "worker",
    "zombie" => "frontend"
  },
  "cancel_reasons" => [
    "client_gone",
    "deadline",
    "shutdown"
  ],
  "disconnect_reasons" => [
    "quit",
    "client_gone",
    "timeout",
    "refused",
    "shutdown",
    "error"
  ],
  "drain_reasons" => {
    "requested" => "frontend",
    "shutdown" => "frontend",
    "stopping" => "worker"
  },
  "elided" => [
    "headers",
    "recipients"
  ],
  "error_codes" => [
    {
      "code" => "exception",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "true"
    },
    {
      "code" => "deadline",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go"
      ],
      "started" => "true"
    },
    {
      "code" => "invalid_verdict",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "true"
    },
    {
      "code" => "bad_event",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "true"
    },
    {
      "code" => "cancelled",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "either"
    },
    {
      "code" => "incomplete_event",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "false"
    },
    {
      "code" => "not_subscribed",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "false"
    },
    {
      "code" => "overloaded",
      "sdks" => [
        "Swift",
        "Python",
        "JavaScript",
        "Perl",
        "C",
        "Ruby",
        "Go",
        "shell"
      ],
      "started" => "false"
    },
    {
      "code" => "draining",
      "sdks" => [],
      "started" => "false"
    }
  ],
  "extensions" => [
    "FUTURERELEASE",
    "MT-PRIORITY"
  ],
  "failure_policies" => [
    "tempfail",
    "skip",
    "reject"
  ],
  "failures" => [
    "worker_lost",
    "worker_error",
    "deadline",
    "invalid_verdict",
    "event_too_large",
    "queue_full",
    "no_worker",
    "breaker_open",
    "poison"
  ],
  "limits" => {
    "actions" => 256,
    "attempts" => 8,
    "challenge_octets" => 8192,
    "client_name_octets" => 255,
    "code" => 64,
    "concurrency" => 65535,
    "default_concurrency" => 1,
    "default_max_frame" => 65536,
    "extensions" => 64,
    "free_text" => 1024,
    "handshake_frame" => 65536,
    "header_line_octets" => 998,
    "header_name_octets" => 255,
    "header_value_octets" => 65536,
    "integer" => '9007199254740991',
    "least_max_frame" => 65536,
    "login_steps" => 8,
    "losses" => 3,
    "most_max_frame" => 16777216,
    "nesting" => 32,
    "notes_octets" => 65536,
    "path_octets" => 255,
    "plugins" => 1024,
    "pool_name" => 64,
    "progress" => 100,
    "reply_line_octets" => 500,
    "reply_lines" => 20,
    "sdk_max_frame" => 1048576,
    "short_text" => 128,
    "state_octets" => 4096,
    "trace" => 256,
    "worker_name" => 64
  },
  "messages" => {
    "bye" => "both",
    "cancel" => "frontend",
    "drain" => "both",
    "error" => "worker",
    "event" => "frontend",
    "hello" => "worker",
    "notify" => "frontend",
    "ping" => "both",
    "pong" => "both",
    "progress" => "worker",
    "reject" => "frontend",
    "verdict" => "worker",
    "violation" => "frontend",
    "welcome" => "frontend"
  },
  "needs" => [
    "recipients",
    "headers",
    "message",
    "trace"
  ],
  "pool_states" => [
    "ready",
    "grace",
    "empty",
    "open"
  ],
  "protocol" => 1,
  "reject_codes" => [
    "protocol_unsupported",
    "pool_unknown",
    "user_denied",
    "bad_hello",
    "pool_full",
    "quarantined"
  ],
  "reset_reasons" => [
    "rset",
    "hello",
    "starttls",
    "done",
    "disconnect"
  ],
  "verdicts" => [
    "declined",
    "ok",
    "deny",
    "denysoft",
    "deny_disconnect",
    "denysoft_disconnect",
    "done"
  ],
  "violations" => [
    "unknown_verdict",
    "plugin_malformed",
    "reply_malformed",
    "notes_malformed",
    "actions_malformed",
    "too_many_actions",
    "unknown_action",
    "trace_malformed",
    "hook_not_reached",
    "verdict_not_allowed",
    "reply_missing",
    "reply_not_allowed",
    "reply_code",
    "reply_status",
    "reply_text",
    "notes_no_transaction",
    "notes_too_large",
    "action_not_allowed",
    "header_name",
    "header_value",
    "path_invalid",
    "value_invalid",
    "unknown_header",
    "unknown_recipient",
    "address_invalid",
    "too_many_recipients",
    "no_recipients",
    "file_refused",
    "challenge_missing",
    "challenge_not_allowed",
    "challenge_too_large",
    "error_malformed"
  ],
  "worker_states" => [
    "ready",
    "busy",
    "slow",
    "silent",
    "draining",
    "quarantined"
  ]
}
};
1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Constants - hooks, words and limits of the protocol

=cut
