"""TestSession: what it asks, keeps and refuses."""

import importlib.util
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SDK))

from gatepost import Worker, declined, deny, denysoft, ok  # noqa: E402
from gatepost.testing import InvalidVerdictError, TestSession  # noqa: E402

MESSAGE = b"From: bob@example.net\r\nSubject: x\r\n\r\nbody\r\n"


def example(name):
    spec = importlib.util.spec_from_file_location(name, SDK / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made():
    worker = Worker("demo")
    with TestSession(worker) as session:
        yield worker, session


def test_the_readme_example():
    with TestSession(example("worker").worker) as session:
        session.mail("bob@example.net")
        refused = session.rcpt("eve@example.com")
        assert (refused.word, refused.code, refused.status) == ("deny", 550, "5.1.6")
        assert session.rcpt("jo@example.com").word == "declined"
        assert session.recipients == [b"jo@example.com"]
        assert session.notes["session"] == {"asked": 1}
        session.message(MESSAGE)
        assert session.headers[0] == (b"X-Seen-By", b"example")
        assert session.message_octets == b"X-Seen-By: example\r\n" + MESSAGE


def test_the_policy_of_every_language():
    with TestSession(example("policy").worker) as session:
        session.mail("bob@example.net")
        assert session.rcpt("EVE@example.com").text == ("eve has left",)
        assert session.rcpt("old@example.com").word == "declined"
        assert session.recipients == [b"new@example.com"]
        first = session.rcpt("alice@example.com")
        assert (first.word, first.code, first.status) == ("denysoft", 450, "4.7.1")
        assert session.message(MESSAGE.replace(b"body", b"a forbidden phrase")).code == 554
        assert session.message(MESSAGE).word == "declined"
        assert session.header("X-Policy") == b"python"


@pytest.mark.parametrize("answer, rule", [
    (lambda event: deny("no", code=250), "reply_code"),
    (lambda event: deny("é"), "reply_text"),
    (lambda event: deny("a\0b"), "reply_text"),
    (lambda event: ok(status="5.1.1"), "reply_status"),
    (lambda event: declined(actions=[{"op": "header.delete", "id": 1}]), "action_not_allowed"),
    (lambda event: event.replace_recipient(9, "a@example.org"), "unknown_recipient"),
    (lambda event: event.add_recipient("a b@example.org"), "address_invalid"),
    (lambda event: event.set_relay("yes"), "actions_malformed"),
])  # fmt: skip
def test_an_invalid_answer_names_function_hook_and_rule(made, answer, rule):
    worker, session = made
    worker.rcpt(needs=["recipients"], plugin="author")(answer) if rule != "reply_text" else worker.rcpt(answer)
    session.mail("bob@example.net")
    with pytest.raises(InvalidVerdictError, match=f"at rcpt: {rule}: "):
        session.rcpt("jo@example.com")
    assert session.recipients == []


def test_every_action_is_applied(made):
    worker, session = made

    @worker.connect
    def connect(event):
        event.set_client_name("mail.example.net")
        event.set_relay()
        event.delay_reply(250)

    @worker.data_post(needs=["headers", "message", "recipients"])
    async def edit(event):
        event.delete_headers("subject")
        event.set_header(1, "Bob <bob@example.net>")
        event.add_header("X-Last", "café", at="bottom")
        event.add_recipient("jo@EXAMPLE.org")
        event.remove_recipient(event.recipients[0].id)
        event.replace_sender("")
        assert event.open_message().read() == MESSAGE

    session.connect()
    assert (session.client_name, session.relay, session.delay_ms) == (b"mail.example.net", True, 250)
    session.mail("bob@example.net")
    session.rcpt("al@example.org")
    session.rcpt("jo@example.org")
    assert session.message(MESSAGE).word == "declined"
    assert session.headers == [(b"From", b"Bob <bob@example.net>"), (b"X-Last", b"=?UTF-8?Q?caf=C3=A9?=")]
    assert session.recipients == [b"jo@example.org"] and session.sender == b""


def test_a_file_replaces_the_message(made):
    worker, session = made

    @worker.data_post(needs=["headers", "message"])
    def rewrite(event):
        path = event.new_message_path()
        with open(path, "wb") as file, event.open_message() as message:
            file.write(message.read().replace(b"body", b"corpse"))
        event.replace_message(path)
        event.add_header("X-New", "1")

    session.mail("")
    session.rcpt("jo@example.org")
    session.message(MESSAGE)
    assert session.message_octets == b"X-New: 1\r\n" + MESSAGE.replace(b"body", b"corpse")


def test_what_was_not_needed_is_an_error(made):
    worker, session = made

    @worker.data
    def count(event):
        return denysoft(str(len(event.recipients)))

    session.mail("")
    with pytest.raises(LookupError):
        session.data()


def test_it_tells_and_logs_in(made):
    worker, session = made
    told = []
    worker.disconnect(lambda event: told.append(event.args["reason"]))

    @worker.auth
    def login(event):
        return ok() if event.argument("password") == b"secret" else deny()

    assert session.auth("bob", "wrong").word == "deny" and session.user is None
    assert session.auth("bob", "secret").word == "ok" and session.user == b"bob"
    session.disconnect()
    assert told == ["quit"]



def test_the_fixture(pytestconfig):
    from gatepost.pytest_plugin import gatepost_session

    function = getattr(gatepost_session, "__wrapped__", None) or gatepost_session.__pytest_wrapped__.obj
    steps = function()
    make = next(steps)
    session = make(Worker("demo"), client_ip="192.0.2.7")
    assert session.client_ip == "192.0.2.7" and Path(session._folder).is_dir()
    assert next(steps, None) is None and not Path(session._folder).exists()
