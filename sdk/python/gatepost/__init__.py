"""Write policy workers for the Gatepost SMTP server: see the README beside this package."""

from .event import Address, Event, Header, Message, Recipient, Session, Transaction
from .verdict import Verdict, declined, deny, deny_disconnect, denysoft, denysoft_disconnect, done, ok
from .worker import Worker

__version__ = "0.1.0"

__all__ = [
    "Address",
    "Event",
    "Header",
    "Message",
    "Recipient",
    "Session",
    "Transaction",
    "Verdict",
    "Worker",
    "declined",
    "deny",
    "deny_disconnect",
    "denysoft",
    "denysoft_disconnect",
    "done",
    "ok",
]
