"""Writing TOML: just what the configuration files of the tests need."""

from __future__ import annotations

from typing import Any


def dump(table: dict[str, Any]) -> str:
    """`table` as a TOML document; nested dicts are tables, lists of dicts arrays of tables."""
    lines: list[str] = []
    _write(table, [], lines)
    return "\n".join(lines) + "\n"


def _write(table: dict[str, Any], path: list[str], lines: list[str]) -> None:
    inner = {k: v for k, v in table.items() if isinstance(v, dict) or _is_tables(v)}
    for key, value in table.items():
        if key not in inner:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in inner.items():
        name = path + [_key(key)]
        for each in value if isinstance(value, list) else [value]:
            brackets = ("[[", "]]") if isinstance(value, list) else ("[", "]")
            lines.append(f"{brackets[0]}{'.'.join(name)}{brackets[1]}")
            _write(each, name, lines)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
