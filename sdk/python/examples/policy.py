"""Greylists, refuses one recipient, rewrites another, scans the body and marks the mail."""

from __future__ import annotations

import os
import threading
import time
from typing import Dict, Optional, Tuple

from gatepost import Event, Verdict, Worker, deny, denysoft

SECONDS = float(os.environ.get("GATEPOST_GREYLIST_SECONDS", "300"))
LARGEST = 100_000  # triplets; the oldest is forgotten then
PHRASE = b"forbidden phrase"

worker = Worker("policy", pool=os.environ.get("GATEPOST_POOL", "policy"))
first_seen: Dict[Tuple[str, bytes, bytes], float] = {}
lock = threading.Lock()


@worker.rcpt
def recipient(event: Event) -> Optional[Verdict]:
    address = event.recipient.address.lower()
    if address == b"eve@example.com":
        return deny("eve has left", code=550, status="5.1.6")
    if address == b"old@example.com":
        event.replace_recipient(event.recipient.id, "new@example.com")
        return None
    triplet = (event.session.client_ip, event.sender.address.lower(), address)
    now = time.monotonic()
    with lock:
        seen = first_seen.get(triplet)
        if seen is None:
            if len(first_seen) >= LARGEST:
                del first_seen[next(iter(first_seen))]
            first_seen[triplet] = now
    if seen is None or now - seen < SECONDS:
        return denysoft("Greylisted, come back later", code=450, status="4.7.1")
    return None


@worker.data_post(needs=["headers", "message"])
def body(event: Event) -> Optional[Verdict]:
    tail = b""
    with open(event.message_path, "rb") as file:
        file.seek(event.message.body_offset)
        while piece := file.read(65_536):
            if PHRASE in tail + piece:
                return deny("The body holds a forbidden phrase", code=554, status="5.7.1")
            tail = (tail + piece)[-len(PHRASE) :]
    event.add_header("X-Policy", "python")
    return None


if __name__ == "__main__":
    worker.run()
