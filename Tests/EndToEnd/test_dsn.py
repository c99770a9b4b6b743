"""DSN (RFC 3461) and REQUIRETLS (RFC 8689): what the client asks for reaches policy and the next hop."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import pytest

from harness.gatepost import Gatepost
from harness.hop import RecordingHop
from harness.scripted_hop import ScriptedHop
from harness.wire import accepting
from test_tls import MESSAGE, Installation, context

EXTENSIONS = ["PIPELINING", "SIZE", "8BITMIME", "DSN"]
MAIL = "MAIL FROM:<bob@example.net> RET=HDRS ENVID=QQ+3D314"
RCPT = "RCPT TO:<alice@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;al+2Bice@example.org"


def test_the_parameters_are_in_the_events(gatepost: Gatepost) -> None:
    gatepost.listener["extensions"] = EXTENSIONS
    frontend = gatepost.frontend(ready=False)
    with gatepost.python_worker(["mail", "rcpt"], accepting()) as worker:
        frontend.ready()
        with gatepost.connect() as client:
            assert "DSN" in client.ehlo().lines
            client.command(MAIL, 250)
            client.command(RCPT, 250)
            client.command("RCPT TO:<alice@example.com> NOTIFY=NEVER,DELAY", 501)
        sender = worker.saw("mail")["args"]["sender"]
        assert sender["params"] == [["RET", "HDRS"], ["ENVID", "QQ+3D314"]]
        recipient = worker.saw("rcpt")["args"]["recipient"]
        assert recipient["params"] == [
            ["NOTIFY", "SUCCESS,DELAY"],
            ["ORCPT", "rfc822;al+2Bice@example.org"],
        ]


@pytest.mark.parametrize("offered", [True, False])
def test_they_are_passed_on_if_the_next_hop_offers_dsn(
    make_gatepost: Callable[..., Gatepost], offered: bool
) -> None:
    hop = RecordingHop(["PIPELINING", *["DSN"] * offered])
    server = make_gatepost()
    server.listener["extensions"] = EXTENSIONS
    server.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{hop.port}")
    server.run()
    with server.connect() as client:
        client.ehlo()
        client.command(MAIL, 250)
        client.command(RCPT, 250)
        client.command("RCPT TO:<carol@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 250
    mail, first, second = hop.commands[1:4]
    parameters = mail.split()[2:]
    if offered:
        assert parameters == [b"RET=HDRS", b"ENVID=QQ+3D314"]
        assert first == RCPT.encode()
    else:
        assert parameters == []
        assert first == b"RCPT TO:<alice@example.com>"
    assert second == b"RCPT TO:<carol@example.com>"
    hop.close()


@pytest.mark.parametrize("plugin", ["queue/smtp-forward", "queue/smtp-proxy"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_priority_is_passed_on_if_the_next_hop_offers_it(
    gatepost: Gatepost, offered: bool, plugin: str
) -> None:
    hop = RecordingHop(["PIPELINING", *["MT-PRIORITY MIXER"] * offered])
    gatepost.listener["extensions"] = ["PIPELINING", "MT-PRIORITY"]
    gatepost.plugins(f"{plugin} 127.0.0.1:{hop.port}", "rcpt_ok")
    gatepost.run()
    with gatepost.connect() as client:
        assert "MT-PRIORITY" in client.ehlo().lines
        client.command("MAIL FROM:<bob@example.net> MT-PRIORITY=10", 501)
        client.command("MAIL FROM:<bob@example.net> MT-PRIORITY=-3", 250)
        client.command("RCPT TO:<alice@example.com>", 250)
        assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 250
    assert hop.commands[1].split()[2:] == [b"MT-PRIORITY=-3"] * offered
    hop.close()


def test_without_the_keyword_they_are_unknown(serving: Gatepost) -> None:
    with serving.connect() as client:
        assert "DSN" not in client.ehlo().lines
        client.command(MAIL, 555)
        client.command("MAIL FROM:<bob@example.net> REQUIRETLS", 555)
        client.command("MAIL FROM:<bob@example.net>", 250)
        client.command(RCPT, 555)


def test_requiretls_is_offered_under_tls_alone_and_never_sent_in_clear_text(
    gatepost: Gatepost,
) -> None:
    hop = RecordingHop()
    installation = Installation(gatepost)
    for listener in gatepost.frontend_toml["listener"]:
        listener["extensions"] = ["PIPELINING", "REQUIRETLS"]
    gatepost.plugins("rcpt_ok", f"queue/smtp-forward 127.0.0.1:{hop.port}")
    installation.run()
    with smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        assert client.docmd("MAIL", "FROM:<bob@example.net> REQUIRETLS")[0] == 555
        client.starttls(context=context())
        client.ehlo()
        assert client.has_extn("requiretls")
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            client.sendmail(
                "bob@example.net", ["alice@example.com"], MESSAGE, mail_options=["REQUIRETLS"]
            )
        assert refusal.value.smtp_code == 550
        assert refusal.value.smtp_error.startswith(b"5.7.30")  # type: ignore[union-attr]
        # Without it the same message goes on.
        client.sendmail("bob@example.net", ["alice@example.com"], MESSAGE)
    assert len(hop.messages) == 1
    hop.close()


@pytest.mark.parametrize(
    ("level", "keywords", "is_passed_on"),
    [("verify", ["REQUIRETLS"], True), ("verify", [], False), ("encrypt", ["REQUIRETLS"], False)],
)
def test_requiretls_goes_to_a_verified_hop_that_offers_it(
    gatepost: Gatepost, level: str, keywords: list[str], is_passed_on: bool
) -> None:
    installation = Installation(gatepost)
    gatepost.listener["extensions"] = ["PIPELINING", "REQUIRETLS"]
    trusted = f"tls_ca_file {installation.first.chain} tls_name mx1.example.com"
    with ScriptedHop(installation.first, keywords=["PIPELINING", *keywords]) as hop:
        gatepost.plugins("rcpt_ok", f"queue/smtp-forward {hop.address} tls {level} {trusted}")
        installation.run()
        with smtplib.SMTP("127.0.0.1", gatepost.port, timeout=20) as client:
            client.starttls(context=context())
            client.ehlo()
            client.docmd("MAIL", "FROM:<bob@example.net> REQUIRETLS")
            client.docmd("RCPT", "TO:<alice@example.com>")
            code, text = client.data(MESSAGE)
        mails = [line for _, line in hop.commands if line.startswith(b"MAIL")]
        if is_passed_on:
            assert code == 250
            assert mails == [b"MAIL FROM:<bob@example.net> REQUIRETLS"]
        else:
            assert code == 550 and text.startswith(b"5.7.30")
            assert not mails
