"""What all sessions hold has a budget: no message begins over it, and it recovers by itself."""

from __future__ import annotations

from harness.gatepost import Gatepost
from harness.smtp import Dialogue
from harness.waiting import wait_until


def mail_code(client: Dialogue) -> int:
    """The reply to MAIL; a transaction that began is taken back."""
    code = client.command("MAIL FROM:<b@example.net>").code
    client.command("RSET", 250)
    return code


def test_over_the_budget_nothing_begins_and_what_began_ends_well(gatepost: Gatepost) -> None:
    gatepost.limits(memory_octets=1 << 19, max_commands_without_message=0)
    frontend, _ = gatepost.run()
    with gatepost.connect() as other, gatepost.connect() as client:
        other.ehlo()
        assert mail_code(other) == 250
        client.ehlo()
        client.command("MAIL FROM:<b@example.net>", 250)
        client.command("RCPT TO:<a@example.com>", 250)
        client.command("DATA", 354)
        # A header that does not end stays in memory.
        client.socket.sendall((b"X: " + b"x" * 50_000 + b"\r\n") * 12)
        wait_until(lambda: mail_code(other) == 452, 10, "MAIL is put off")
        assert other.command("MAIL FROM:<b@example.net>", 452).status == "4.3.1"
        with gatepost.connect() as late:
            assert late.expect(421).status == "4.3.2"
        frontend.logged("a session was refused by a limit", 10)
        client.socket.sendall(b"\r\nbody\r\n")
        client.command(".", 250)
        wait_until(lambda: mail_code(other) == 250, 10, "MAIL is granted again")
        frontend.logged("sessions and messages begin again", 10)
    with gatepost.connect() as client:
        client.ehlo()
        client.quit()
