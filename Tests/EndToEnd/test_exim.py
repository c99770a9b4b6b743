"""A real Exim as the client: TLS, CHUNKING, DSN, and PRDR, which no other server speaks."""

from __future__ import annotations

import re

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.peers import Exim, has_exim
from harness.wire import Message, accepting
from test_tls import Installation

MESSAGE = b"From: <bob@example.net>\r\nSubject: from Exim\r\n\r\nhello\r\n"

pytestmark = pytest.mark.skipif(
    not has_exim(), reason="Exim is unpacked by scripts/test, and started by root in a mount of its own"
)


def test_a_message_by_tls_in_chunks_with_dsn(gatepost: Gatepost) -> None:
    """What Exim asks for arrives at the next hop."""
    hop = RecordingHop(["PIPELINING", "8BITMIME", "DSN"])
    gatepost.listener["extensions"] = ["PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "DSN"]
    gatepost.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{hop.port}")
    Installation(gatepost).run()
    with Exim(gatepost.port) as exim:
        log = exim.send(
            MESSAGE,
            "<bob@example.net> RET=HDRS ENVID=QQ314",
            "<alice@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;al@example.org",
            "<carol@example.com>",
        )
    delivered = re.findall(r" => (\S+) .*X=TLS1\.[23]:\S+ .*\bK\b.*C=\"250 2\.0\.0 ", log)
    assert delivered == ["alice@example.com"] and " -> carol@example.com" in log, log
    mail, first, second = hop.commands[1:4]
    assert mail == b"MAIL FROM:<bob@example.net> RET=HDRS ENVID=QQ314"
    assert first == b"RCPT TO:<alice@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;al@example.org"
    assert second.startswith(b"RCPT TO:<carol@example.com>")
    [message] = hop.messages
    assert b"with ESMTPS id" in message and message.endswith(b"\r\n\r\nhello\r\n")
    hop.close()


@pytest.mark.parametrize("offered", [True, False])
def test_each_recipient_is_heard_of_by_prdr(gatepost: Gatepost, offered: bool) -> None:
    gatepost.listener["extensions"] = ["PIPELINING", "ENHANCEDSTATUSCODES", *["PRDR"] * offered]
    frontend = gatepost.frontend(ready=False)
    reply = {"code": 550, "status": "5.7.1", "text": ["not for carol"]}
    answer: Message = {
        "verdict": "declined",
        "actions": [
            {"op": "recipient.refuse", "id": 2, "verdict": "deny", "reply": reply},
            {"op": "recipient.refuse", "id": 3, "verdict": "denysoft"},
        ],
    }
    with gatepost.python_worker(["rcpt", "data_post", "queue"], accepting(data_post=answer)):
        frontend.ready()
        with Exim(gatepost.port) as exim:
            names = ("alice", "carol", "dave")
            log = exim.send(MESSAGE, "<bob@example.net>", *(f"<{name}@example.com>" for name in names))
    if offered:
        assert re.search(r" => alice@example\.com .* PRDR .*C=\"250 2\.0\.0 ", log), log
        assert re.search(r" \*\* carol@example\.com .*PRDR error.*: 550 5\.7\.1 not for carol", log), log
        assert re.search(r" == dave@example\.com .*: 451 4\.7\.1 ", log), log
    else:
        # One reply for all, which is for now, because of dave.
        assert len(re.findall(r" == \w+@example\.com .*: 451 4\.7\.1 ", log)) == 3, log
