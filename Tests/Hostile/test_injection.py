"""Injection into SMTP, headers, envelope and message (protocol/failure.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.smtp import Dialogue
from harness.wire import Message, RawWorker
from proofs import proves
from scene import Scene

MESSAGE = b"Subject: victim\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\nbody\r\n"


class Attack:
    """A transaction in which one hook is answered by the attacker; without a probe beside it."""

    def __init__(self, scene: Scene, hook: str, **needs: object) -> None:
        self.scene = scene
        scene.probe.end()
        scene.probe = type(scene.probe)(scene.gatepost)
        hooks: dict[str, Message] = {hook: dict(needs)}
        self.worker: RawWorker = scene.worker(hooks)
        self.hook = hook
        self.client: Dialogue = scene.victim()

    def up_to(self, message: bytes = MESSAGE) -> Message:
        """Speaks SMTP until the hook's event is there."""
        before = {"mail": 0, "rcpt": 1, "data": 2}.get(self.hook, 3)
        steps = [b"MAIL FROM:<bob@example.net>\r\n", b"RCPT TO:<alice@example.com>\r\n", b"DATA\r\n"]
        for number, step in enumerate(steps):
            self.client.send(step)
            if number == before:
                return self.worker.event(self.hook)
            self.client.expect((250, 250, 354)[number])
        self.client.send(message + b".\r\n")
        return self.worker.event(self.hook)

    def answer(self, event: Message, verdict: str = "declined", **fields: object) -> None:
        self.worker.answer(event, verdict, **fields)

    def queued(self) -> Message:
        """What the healthy pool's queue hook got."""
        return self.scene.healthy.saw("queue")

    def close(self) -> None:
        self.client.close()
        self.worker.close()
        self.scene.gatepost.spool_is_empty()
        # The empty pool goes on being asked for this hook, so its failure is skipped from here on.
        self.scene.healthy.close()
        self.scene.bystander.close()


@pytest.fixture
def attack(set_stage: Callable[..., Scene]):
    """Attacks a hook; afterwards memory, descriptors and the listener are looked at."""
    attacks: list[Attack] = []

    def begin(hook: str, **needs: object) -> Attack:
        scene = set_stage()
        attacks.append(Attack(scene, hook, **needs))
        return attacks[-1]

    yield begin
    for each in attacks:
        each.client.close()
        each.worker.close()
        # A worker that declines everything, so that the probe at the end is not refused by policy.
        scene = each.scene
        scene.gatepost.python_worker([each.hook], pool="hostile", worker={"name": "tame"})
        scene.probe.start()
        scene.probe.sends(2)
        scene.check(descriptors=1)
        scene.check = lambda descriptors=0: None  # type: ignore[method-assign]


HEADER_NAMES = {
    "crlf": "X: y\r\nBcc",
    "empty": "",
    "space": "A B",
    "not-ascii": "Ü",
    "colon": ":",
    "nul": "X\0",
    "1000-octets": "x" * 1_000,
    "number": 5,
    "null": None,
}
HEADER_VALUES = {
    "cr": "a\rb",
    "lf": "a\nb",
    "crlf-not-folded": "a\r\nBcc: x",
    "body": "a\r\n\r\nbody",
    "nul": "a\0b",
    "leading-lf": "\nX",
    "trailing-lf": "x\n",
    "trailing-crlf": "x\r\n",
    "crlf-at-end-of-folding": "x\r\n \r\n",
    "8-bit-without-smtputf8": "Grüße",
    "line-of-999-octets": "x" * (999 - len("X-Value: ")),
    "folded-line-of-999-octets": "x\r\n " + "x" * 998 + "\r\n y",
    "number": 5,
    "object": {},
}


@proves("header_name")
@pytest.mark.parametrize("name", HEADER_NAMES)
def test_44_header_names(attack, name: str) -> None:
    """A name that is no RFC 5322 ftext makes the verdict invalid."""
    run = attack("data_post")
    op = {"op": "header.add", "name": HEADER_NAMES[name], "value": "x"}
    run.answer(run.up_to(), actions=[op])
    assert run.client.reply().code == 451


@proves("header_value")
@pytest.mark.parametrize("name", HEADER_VALUES)
def test_44_header_values(attack, name: str) -> None:
    """A value with a bare line end, a NUL or an end of the header is invalid."""
    run = attack("data_post")
    op = {"op": "header.add", "name": "X-Value", "value": HEADER_VALUES[name]}
    run.answer(run.up_to(), actions=[op])
    assert run.client.reply().code == 451


@pytest.mark.parametrize(
    "op",
    [
        {"op": "header.add", "name": "X-Value", "value": "x" * (998 - len("X-Value: "))},
        {"op": "header.add", "name": "X-Value", "value": "x\r\n " + "x" * 997},
        # What came may be handed back, and text put before it.
        {"op": "header.add", "name": "X-Old", "value": {"b64": "IGNhZuk="}},
        {"op": "header.set", "id": 1, "value": {"b64": "IFt0YWddIGNhZuk="}},
    ],
    ids=["998-octets", "folded-998-octets", "received-8-bit", "set-8-bit"],
)
def test_44_values_that_are_allowed(attack, op: Message) -> None:
    run = attack("data_post")
    run.answer(run.up_to(b"X-Cafe: caf\xe9\r\n\r\nbody\r\n"), actions=[op])
    run.client.expect(250)


def test_44_a_value_of_megabytes(attack) -> None:
    run = attack("data_post")
    op = {"op": "header.add", "name": "X-Value", "value": "x" * 900_000}
    run.answer(run.up_to(), actions=[op])
    assert run.client.reply().code in (250, 451)


def test_44_folding_is_allowed(attack) -> None:
    """And what leaves is one field: CRLF and white space, as it was given."""
    run = attack("data_post")
    op = {"op": "header.add", "name": "X-Folded", "value": " a\r\n b\r\n\tc"}
    run.answer(run.up_to(), actions=[op])
    run.client.expect(250)


@proves("unknown_header")
@pytest.mark.parametrize(
    "op",
    [
        {"op": "header.delete", "id": -1},
        {"op": "header.delete", "id": 0},
        {"op": "header.delete", "id": 10**9},
        {"op": "header.delete", "id": 2**53},
        {"op": "header.set", "id": 99, "value": "x"},
        {"op": "header.set", "value": "x"},
        {"op": "header.delete", "id": "1"},
        {"op": "header.add", "name": "X", "value": "y", "at": "middle"},
        {"op": "header.add", "name": "X"},
        {"op": "header.delete_all"},
        {"op": "header.delete_all", "name": "a:b"},
    ],
    ids=lambda op: "-".join(str(value) for value in op.values())[:30],
)
def test_45_headers_that_are_not_there(attack, op: Message) -> None:
    """An id that no field has makes the verdict invalid; nothing traps."""
    run = attack("data_post")
    run.answer(run.up_to(), actions=[op])
    assert run.client.reply().code == 451


def test_45_deleting_what_is_not_there_by_name(attack) -> None:
    """`header.delete_all` says what must not be there, so it need not be there before."""
    run = attack("data_post")
    ops = [{"op": "header.delete_all", "name": name} for name in ("x-twice", "X-Nowhere")]
    run.answer(run.up_to(), actions=ops)
    run.client.expect(250)


ADDRESSES = {
    "injection": "a@b>\r\nDATA",
    "null": "",
    "brackets": "<>",
    "space": "a b@example.com",
    "no-domain": "alice",
    "utf8-without-smtputf8": "jérôme@example.com",
    "b64-not-utf8": {"b64": "/0BleGFtcGxlLmNvbQ=="},
    "number": 5,
    "long": "a" * 253 + "@example.com",
    "two-at": "a@b@example.com",
    "nul": "a\0@example.com",
}


@proves("address_invalid")
@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("op", ["recipient.add", "sender.replace"])
def test_46_addresses(attack, op: str, name: str) -> None:
    """What a worker calls an address goes through the parser of SMTP."""
    run = attack("data_post")
    run.answer(run.up_to(), actions=[{"op": op, "address": ADDRESSES[name]}])
    code = run.client.reply().code
    assert code == (250 if (op, name) == ("sender.replace", "null") else 451)


@proves("too_many_recipients")
def test_46_too_many_recipients(set_stage: Callable[..., Scene], gatepost) -> None:
    """The limit of recipients holds for workers too."""
    gatepost.limits(max_recipients=100)
    run = Attack(set_stage(), "data")
    ops = [{"op": "recipient.add", "address": f"a{n}@example.com"} for n in range(150)]
    run.answer(run.up_to(), actions=ops)
    reply = run.client.reply()
    assert reply.code == 451, run.client.describe(str(reply))
    run.client.close()
    run.worker.close()
    run.scene.gatepost.python_worker(["data"], pool="hostile", worker={"name": "tame"})
    run.scene.probe.start()
    run.scene.probe.sends(2)
    run.scene.check(descriptors=1)
    run.scene.check = lambda descriptors=0: None  # type: ignore[method-assign]


@proves("no_recipients")
def test_46_no_recipient_left(attack) -> None:
    """A verdict may not remove the last recipient; a worker that wants that can deny the message."""
    run = attack("data_post", needs=["recipients"])
    event = run.up_to()
    (recipient,) = event["transaction"]["recipients"]
    run.answer(event, actions=[{"op": "recipient.remove", "id": recipient["id"]}])
    assert run.client.reply().code == 451
    run.scene.logged("no_recipients")


# message.replace


def _outside(out: Path) -> str:
    (out.parent / "elsewhere").write_bytes(MESSAGE)
    return "../elsewhere"


def _absolute(out: Path) -> str:
    (out / "plain").write_bytes(MESSAGE)
    return str(out / "plain")


def _symlink(out: Path) -> str:
    (out / "link").symlink_to("/etc/passwd")
    return "link"


def _symlinked_folder(out: Path) -> str:
    (out / "folder").symlink_to("/etc")
    return "folder/passwd"


def _hard_link(out: Path) -> str:
    (out / "one").write_bytes(MESSAGE)
    os.link(out / "one", out / "two")
    return "two"


def _fifo(out: Path) -> str:
    os.mkfifo(out / "fifo")
    return "fifo"


def _folder(out: Path) -> str:
    (out / "folder").mkdir()
    return "folder"


def _device(out: Path) -> str:
    os.mknod(out / "zero", 0o020600, os.makedev(1, 5))
    return "zero"


def _other_user(out: Path) -> str:
    (out / "foreign").write_bytes(MESSAGE)
    os.chown(out / "foreign", 65534, 65534)
    return "foreign"


def _too_large(out: Path) -> str:
    with (out / "large").open("wb") as file:
        file.truncate(40 << 20)
    return "large"


def _bare_lf(out: Path) -> str:
    (out / "lf").write_bytes(b"Subject: x\n\n.\nMAIL FROM:<smuggled@example.net>\n")
    return "lf"


def _header_of_many_fields(out: Path) -> str:
    (out / "fields").write_bytes(b"X: y\r\n" * 1_001 + b"\r\nbody\r\n")
    return "fields"


def _header_cut_at_its_limit(out: Path) -> str:
    """Cut at `max_header_octets` it would end between a CR and its LF."""
    start = b"X: y\r\n" + b"Y: " + b"z" * 900 + b"\r\n "
    folded = start + (b"z" * 900 + b"\r\n ") * 2_000
    header = folded[: 1_048_575].rstrip(b"\r\n ")
    header += b"z" * (1_048_575 - len(header))
    (out / "cut").write_bytes(header + b"\r\n.\r\nMAIL FROM:<smuggled@example.net>\r\n")
    return "cut"


FILES = {
    "outside": _outside,
    "absolute": _absolute,
    "symlink": _symlink,
    "symlinked-folder": _symlinked_folder,
    "hard-link": _hard_link,
    "fifo": _fifo,
    "folder": _folder,
    "device": _device,
    "other-user": _other_user,
    "too-large": _too_large,
    "bare-lf": _bare_lf,
    "many-fields": _header_of_many_fields,
    "cut-header": _header_cut_at_its_limit,
    "missing": lambda out: "nothing-here",
    "dot": lambda out: ".",
    "dotdot": lambda out: "..",
    "empty": lambda out: "",
    "nul": lambda out: "a\0b",
    "number": lambda out: 5,
}


@proves("path_invalid", "file_refused")
@pytest.mark.parametrize("name", FILES)
def test_47_replacements(attack, name: str) -> None:
    """A plain file in the pool's `out` folder, owned by the peer, one link; else policy."""
    if name in ("device", "other-user") and os.getuid() != 0:
        pytest.skip("needs root")
    run = attack("data_post")
    event = run.up_to()
    out = Path(run.scene.gatepost.frontend_toml["spool_directory"]) / "mx1" / "out" / "hostile"
    path = FILES[name](out)
    run.answer(event, actions=[{"op": "message.replace", "path": path}])
    reply = run.client.reply()
    assert reply.code == 451, run.client.describe(str(reply))
    for left in list(out.iterdir()) + [out.parent / "elsewhere"]:
        if left.is_dir() and not left.is_symlink():
            left.rmdir()
        else:
            left.unlink(missing_ok=True)


def test_47_a_good_replacement(attack) -> None:
    """The queued message is a copy: a later change of the worker's file has no effect."""
    run = attack("data_post")
    event = run.up_to()
    out = Path(run.scene.gatepost.frontend_toml["spool_directory"]) / "mx1" / "out" / "hostile"
    (out / "fine").write_bytes(b"Subject: replaced\r\n\r\nnew body\r\n")
    run.answer(event, actions=[{"op": "message.replace", "path": "fine"}])
    run.client.expect(250)
    (out / "fine").unlink(missing_ok=True)


# Notes and logs


@pytest.mark.parametrize(
    "notes",
    [
        {"session": {"__proto__": {"polluted": True}, "constructor": 1}},
        {"session": {"a.b.c": 1, "": 2, "ü": 3}},
        {"session": {"a": {"b": {"c": {"d": {"e": {}}}}}}},
        {"session": {f"k{n}": n for n in range(4_000)}},
    ],
    ids=["proto", "odd-keys", "deep", "many"],
)
def test_48_notes_are_opaque(scene: Scene, notes: Message) -> None:
    """Whatever is allowed comes back as it was given."""
    worker, client, event = scene.asked()
    with client:
        worker.answer(event, "ok", notes=notes)
        client.expect(250)
        client.send(b"VRFY bob\r\n")
        again = worker.event("vrfy")
        assert again["notes"]["session"] == notes["session"]
        worker.answer(again, "declined", notes={"session": {key: None for key in notes["session"]}})
        client.expect(252)
        client.send(b"VRFY carol\r\n")
        last = worker.event("vrfy")
        assert last["notes"]["session"] == {}
        worker.answer(last, "declined")
        client.expect(252)


@proves("worker_error")
def test_50_the_log_cannot_be_forged(scene: Scene) -> None:
    """Escapes, line ends and megabytes from a worker stay one short, escaped line."""
    worker, client, event = scene.asked()
    evil = "\x1b[2J\r\n2026-01-01 forged: line\u2028\x00" + "x" * 100_000
    with client:
        worker.send(
            {
                "type": "error",
                "id": event["id"],
                "code": "exception",
                "started": True,
                "plugin": "p",
                "message": evil,
            }
        )
        assert client.reply().code == 451
        worker.send({"type": "bye", "code": "x" * 1_000 + "\x1b", "message": evil})
    scene.logged("attacker")
    log = scene.frontend.log_path.read_bytes()
    assert b"\x1b" not in log and b"\0" not in log and b"\xe2\x80\xa8" not in log
    assert b"\n2026-01-01 forged" not in log
    assert max(len(line) for line in log.splitlines()) < 8_192


def test_50_a_plugin_with_line_ends(scene: Scene) -> None:
    """Whatever a plugin is called, its name is data in one line."""
    worker, client, event = scene.asked()
    with client:
        worker.answer(event, "deny", plugin="a\r\nforged \x1b[2J\u2028")
        client.expect(550)
    scene.logged("forged")
    log = scene.frontend.log_path.read_bytes()
    assert b"\nforged" not in log and b"\x1b" not in log and b"\xe2\x80\xa8" not in log


def test_50_a_flood_of_errors(scene: Scene) -> None:
    """A worker whose every answer is wrong does not fill the disk with log lines."""
    worker = scene.worker(["vrfy"], concurrency=100)
    client = scene.victim()
    with client:
        for _ in range(100):
            client.send(b"VRFY alice\r\n")
            try:
                event = worker.event("vrfy", 3)
                worker.send({"type": "verdict", "id": event["id"], "verdict": "nonsense"})
            except (AssertionError, OSError):
                worker = scene.attacker()
                try:
                    worker.hello(["vrfy"], pool="hostile", worker={"name": "attacker"})
                except (AssertionError, OSError):
                    pass
            assert client.reply().code in (451, 252)
    assert len(scene.log()) < 400_000
