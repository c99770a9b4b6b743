"""A recipient that is named twice gets one copy, and `<Postmaster>` is this host's."""

from __future__ import annotations

from harness.gatepost import Gatepost


def names_in(gatepost: Gatepost) -> dict[str, int]:
    """Maildirs below the delivery folder, each with its number of messages."""
    root = gatepost.maildir.path
    return {
        str(new.parent.relative_to(root)): len(list(new.iterdir())) for new in root.glob("*/*/new")
    }


def test_each_mailbox_gets_one_copy(gatepost: Gatepost) -> None:
    gatepost.plugins("rcpt_ok", "queue/maildir {mail} %d/%m")
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net>", 250)
        for recipient in ("me@example.com", "me@example.com", "ME@EXAMPLE.com", "Postmaster"):
            client.command(f"RCPT TO:<{recipient}>", 250)
        assert client.data(b"Subject: x\r\n\r\nbody\r\n").code == 250
        client.quit()
    assert names_in(gatepost) == {"example.com/me": 1, "mx1.example.com/postmaster": 1}


def test_both_spellings_of_a_domain_are_ours(gatepost: Gatepost) -> None:
    gatepost.control("rcpthosts", "bücher.example")
    gatepost.run()
    with gatepost.connect() as client:
        client.ehlo()
        client.command("MAIL FROM:<bob@example.net> SMTPUTF8", 250)
        client.command("RCPT TO:<me@bücher.example>", 250)
        client.command("RCPT TO:<me@xn--bcher-kva.example>", 250)
        client.command("RCPT TO:<me@bucher.example>", 550)
        client.quit()
