"""Refuses a recipient who has left, counts recipients, marks the mail: a whole policy worker."""

from gatepost import Worker, deny

worker = Worker("example", pool="python")

@worker.rcpt
def has_left(event):
    if event.recipient.address.lower() == b"eve@example.com":
        return deny(f"{event.recipient} has left", code=550, status="5.1.6")
    event.session_notes["asked"] = event.session_notes.get("asked", 0) + 1

@worker.data_post_headers
def mark(event):
    event.add_header("X-Seen-By", "example")

if __name__ == "__main__":
    worker.run()
