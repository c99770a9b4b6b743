"""SMTP sessions that run up to a hook."""

from __future__ import annotations

from .smtp import Dialogue, Reply, stuffed

#: What the client says to have a hook asked; what comes before must be granted.
STEPS = {
    "helo": "HELO client.example",
    "ehlo": "EHLO client.example",
    # n,,n=jo,r=nonce (RFC 5802 §7); the listener must have `auth` and `auth_without_tls`.
    "auth": "AUTH SCRAM-SHA-256 biwsbj1qbyxyPW5vbmNl",
    "vrfy": "VRFY alice",
    "help": "HELP",
    "noop": "NOOP",
    "unrecognized_command": "XYZZY",
    "mail": "MAIL FROM:<bob@example.net>",
    "rcpt": "RCPT TO:<alice@example.com>",
    "data": "DATA",
    "quit": "QUIT",
}
#: Asked once the message has come.
AT_END = (
    *("data_headers_end", "received_line", "data_post_headers", "data_post", "queue_pre", "queue"),
)
MESSAGE = b"Received: one\r\nFrom: Bob <bob@example.net>\r\nSubject: x\r\nX-Empty:\r\n\r\nbody\r\n"


def reply_at(client: Dialogue, hook: str, message: bytes = MESSAGE) -> Reply:
    """Speaks until the hook is asked, and returns the reply that it leads to."""
    if hook == "connect":
        return client.reply()
    client.expect(220)
    if hook in ("helo", "ehlo"):
        return client.command(STEPS[hook])
    client.command(STEPS["ehlo"], 250)
    if hook in ("auth", "quit", "vrfy", "help", "noop", "unrecognized_command"):
        return client.command(STEPS[hook])
    for step in ("mail", "rcpt", "data"):
        reply = client.command(STEPS[step])
        if step == hook:
            return reply
        if not reply.is_positive:
            client.fail(f"{step}, before {hook}, was not granted: {reply}")
    client.send(stuffed(message))
    return client.reply()
