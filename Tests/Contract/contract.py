"""Where the contract lies, its schemas, and its transcripts: what the tests of this folder share."""

import base64
import json
import re
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "protocol"
SCHEMAS = {path.name: json.loads(path.read_text("utf-8")) for path in (PROTOCOL / "schema").glob("*.json")}
STORE = {schema["$id"]: schema for schema in SCHEMAS.values()}
TRANSCRIPTS = sorted((PROTOCOL / "golden").glob("*.ndjson"))

# Integers are integers: 1.0 is none (protocol/README.md §1). The standard library reads 1.0 as a float, so a type check suffices.
_CHECKER = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
)
_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_CHECKER)


def validator(name, definition=None):
    """A validator for a whole schema file, or for one of its definitions."""
    schema = SCHEMAS[name]
    resolver = jsonschema.RefResolver(schema["$id"], schema, store=STORE)
    target = {"$ref": f"{schema['$id']}#/$defs/{definition}"} if definition else schema
    return _Validator(target, resolver=resolver)


_BY_TYPE = {word: validator("messages.json", word) for word in SCHEMAS["messages.json"]["$defs"]["message_type"]["enum"]}


def check_message(message):
    """Raises if this is no message of the protocol. (By type, for `oneOf` would only say that nothing fits.)"""
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _BY_TYPE:
        raise jsonschema.ValidationError(f"no message: {message!r:.100}")
    _BY_TYPE[kind].validate(message)


def is_message(message):
    try:
        check_message(message)
    except jsonschema.ValidationError:
        return False
    return True


def octets(value):
    """The octets of a field of type Bytes."""
    return value.encode("utf-8") if isinstance(value, str) else base64.b64decode(value["b64"], validate=True)


def raw_octets(step):
    """The octets of a transcript's line, as they go over the wire."""
    if "line" in step:
        return json.dumps(step["line"], ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
    raw = octets(step["raw"])
    if "fill" in step:
        tail = step["tail"].encode("utf-8")
        raw += step["fill"].encode() * (step["total"] - len(raw) - len(tail)) + tail
    return raw


def transcript(path):
    """The header and the steps of a golden transcript."""
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return lines[0], lines[1:]


def blocks(path, language):
    """The fenced blocks of a document in this language, each with the number of its first line."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S):
        yield path.read_text("utf-8").count("\n", 0, match.start()) + 2, match.group(1)
