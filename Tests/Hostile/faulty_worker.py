"""A worker process that misbehaves at random: dies, hangs, lies, talks nonsense, leaks.

    faulty_worker.py NAME LOG SEED SOCKET...

Serves every frontend whose socket it is given. Its queue hook appends the message's subject to LOG
with one write and then says ok, so that every acceptance can be held against every 250.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import socket
import sys
import time

HOOKS: dict[str, dict[str, object]] = {
    **{hook: {} for hook in ("connect", "ehlo", "mail", "rcpt", "data", "quit")},
    "data_post": {"needs": ["message"]},
    "queue": {"needs": ["headers"]},
}
leak: list[bytes] = []


def main() -> None:
    name, log, seed, *paths = sys.argv[1:]
    dice = random.Random(int(seed))
    journal = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    selector = selectors.DefaultSelector()
    for path in paths:
        link = dial(path)
        hello = {
            "type": "hello",
            "protocol": [1, 1],
            "pool": "policy",
            "worker": {"name": name, "pid": os.getpid()},
            "concurrency": 32,
            "max_frame": 1 << 20,
            "hooks": HOOKS,
        }
        link.sendall(json.dumps(hello).encode() + b"\n")
        selector.register(link, selectors.EVENT_READ, [b""])
    while True:
        for key, _ in selector.select():
            octets = key.fileobj.recv(1 << 20)
            if not octets:
                return
            *lines, key.data[0] = (key.data[0] + octets).split(b"\n")
            for line in lines:
                handle(key.fileobj, json.loads(line), dice, journal)


def dial(path: str) -> socket.socket:
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(path)
            return link
        except OSError:
            link.close()
            time.sleep(0.02)


def handle(link: socket.socket, message: dict, dice: random.Random, journal: int) -> None:
    if message["type"] == "ping":
        link.sendall(json.dumps({"type": "pong", "n": message["n"]}).encode() + b"\n")
    if message["type"] in ("reject", "bye"):
        sys.exit(0)
    if message["type"] != "event":
        return
    id, hook = message["id"], message["hook"]
    answer = {"type": "verdict", "id": id, "verdict": "declined"}
    if hook == "queue":
        fields = message["transaction"]["headers"]
        subject = next(each["value"] for each in fields if each["name"] == "Subject")
        os.write(journal, subject.strip().encode() + b"\n")
        answer["verdict"] = "ok"
    elif hook == "rcpt":
        answer["verdict"] = "ok"
    elif hook == "data_post":
        with open(message["transaction"]["message"]["path"], "rb") as file:
            assert file.read(9) == b"Subject: "
    chance = dice.random()
    if hook != "queue" and chance < 0.02:
        misbehave(link, id, answer, dice)
        return
    link.sendall(json.dumps(answer).encode() + b"\n")
    if chance > 0.995:
        link.sendall(json.dumps({**answer, "verdict": "deny"}).encode() + b"\n")


def misbehave(link: socket.socket, id: int, answer: dict, dice: random.Random) -> None:
    act = dice.choice(("crash", "cut", "hang", "lie", "garbage", "error", "forget", "leak", "flood"))
    line = json.dumps(answer).encode() + b"\n"
    if act == "crash":
        os._exit(1)
    elif act == "cut":
        link.sendall(line[: len(line) // 2])
        os._exit(1)
    elif act == "hang":
        time.sleep(2)
        link.sendall(line)
    elif act == "lie":
        link.sendall(json.dumps({**answer, "verdict": "maybe"}).encode() + b"\n")
    elif act == "garbage":
        link.sendall(b"\xff\xfe{{{\n")
    elif act == "error":
        error = {"type": "error", "id": id, "code": "exception", "started": dice.random() < 0.5}
        link.sendall(json.dumps(error).encode() + b"\n")
    elif act == "leak":
        leak.append(bytes(1 << 20))
        link.sendall(line)
    elif act == "flood":
        progress = json.dumps({"type": "progress", "id": id, "extend_ms": 1}).encode() + b"\n"
        link.sendall(progress * 150 + line)


if __name__ == "__main__":
    main()
