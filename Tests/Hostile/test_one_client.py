"""Clients misbehave without a pause, all in the same way, beside one that does well.

Whatever they do, for as long as GATEPOST_HOSTILE_SECONDS says (3 by default): what the frontend holds for them all stays
below a bound that the test states, other clients get their replies in time (the scene's probe), and when they have gone
so have their memory and descriptors. Each test prints what it measured.
"""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable

import pytest

from harness.smtp import Dialogue
from scene import SLACK_OCTETS, Scene
from test_one_worker import SECONDS, watched

#: Flooding clients use the processor that the good clients need; stalling clients only use memory.
FLOODING = 8
STALLING = 40


def greeted(client: Dialogue) -> None:
    client.ehlo("crowd.example")


def in_data(client: Dialogue) -> None:
    client.ehlo("crowd.example")
    client.envelope()
    client.command("DATA", 354)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What each client of a crowd does once it is `ready`."""

    ready: Callable[[Dialogue], None]
    octets: bytes
    #: Most octets that the frontend may hold for one of them.
    share: int
    #: Sends `octets` again and again, each time when the lines of reply came; otherwise once, and then it stalls.
    is_endless: bool = True
    is_reading: bool = True
    lines: int = 0

    @property
    def clients(self) -> int:
        return FLOODING if self.is_endless else STALLING


KINDS = {
    # 64 KiB of replies wait, and the octets that were read before.
    "unread_replies": Kind(greeted, b"EHLO crowd.example\r\n" * 10, 512 << 10, is_reading=False),
    "noop": Kind(greeted, b"NOOP\r\n" * 100, 512 << 10, lines=100),
    # Each has more commands waiting, in the frontend and in its socket, than many turns handle.
    "full_buffers": Kind(greeted, b"NOOP\r\n" * 10_000, 1 << 20),
    "rset": Kind(greeted, b"RSET\r\n" * 100, 512 << 10, lines=100),
    "endless_command": Kind(greeted, b"x" * 8_192, 512 << 10),
    "endless_line": Kind(in_data, b"x" * 8_192, 512 << 10),
    # max_header_octets is 1 MiB; the fields stand in the content and in the list of fields.
    "stalls_in_header": Kind(in_data, (b"X-Field: " + b"x" * 1_000 + b"\r\n") * 900, 4 << 20, is_endless=False),
    # memory_message_octets is 64 KiB; the rest is in the spool.
    "stalls_in_body": Kind(in_data, b"Subject: x\r\n\r\n" + (b"y" * 998 + b"\r\n") * 2_000, 512 << 10, is_endless=False),
}


class Member:
    """A client of a crowd."""

    def __init__(self, scene: Scene, kind: Kind) -> None:
        self.kind = kind
        self.client = scene.gatepost.connect()
        kind.ready(self.client)
        self.client.socket.setblocking(False)
        if not kind.is_reading:
            # The kernel is to keep few of the replies.
            self.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.sent = self.lines = 0

    def act(self) -> None:
        """Sends and reads what is possible now; raises OSError when the server has closed."""
        if self.kind.is_reading:
            try:
                octets = self.client.socket.recv(1 << 20)
                if not octets:
                    raise ConnectionResetError
                self.lines += octets.count(b"\n")
            except BlockingIOError:
                pass
        times, place = divmod(self.sent, len(self.kind.octets))
        if place == 0 and self.lines < times * self.kind.lines:
            return
        if self.sent > 0 and place == 0 and not self.kind.is_endless:
            return
        try:
            self.sent += self.client.socket.send(self.kind.octets[place:])
        except BlockingIOError:
            pass


class Crowd:
    """Clients of one kind; one that the server closes connects again."""

    def __init__(self, scene: Scene, kind: Kind) -> None:
        self.scene, self.kind = scene, kind
        self.members = [Member(scene, kind) for _ in range(kind.clients)]
        self.connections = kind.clients
        self.octets = 0
        self.problem: str | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="crowd", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.over.wait(0.005) and self.problem is None:
            for place, member in enumerate(self.members):
                try:
                    member.act()
                except OSError:
                    member.client.close()
                    self.octets += member.sent
                    self.renew(place)

    def renew(self, place: int) -> None:
        try:
            self.members[place] = Member(self.scene, self.kind)
            self.connections += 1
        except (AssertionError, OSError) as error:
            self.problem = str(error)

    def end(self) -> None:
        self.over.set()
        self.thread.join(30)
        for member in self.members:
            self.octets += member.sent
            member.client.reset()
        assert self.problem is None, self.problem


@pytest.mark.parametrize("name", KINDS)
def test_one_client(scene: Scene, name: str) -> None:
    kind = KINDS[name]
    bound = kind.clients * kind.share + SLACK_OCTETS
    crowd = Crowd(scene, kind)
    rise = watched(scene, SECONDS)
    crowd.end()
    scene.probe.end()
    print(
        f"{name}: {crowd.connections} connections, {crowd.octets >> 10} KiB sent, memory +{rise >> 20} MiB of"
        f" {bound >> 20} MiB, slowest message of others {scene.probe.slowest:.2f} s"
    )
    assert crowd.octets >= kind.clients * len(kind.octets)
    assert rise < bound
