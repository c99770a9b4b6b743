"""Prints the RFC 7208 test suite of Debian's python3-spf as lines of tab-separated words, octets in hexadecimal.

    scenario DESCRIPTION
    record NAME TYPE DATA...        TYPE is TXT, A, AAAA, MX, PTR, CNAME or TIMEOUT
    test NAME HELO HOST SENDER RESULTS EXPLANATION
"""

import gzip
import sys

import yaml

PATH = "/usr/share/doc/python3-spf/rfc7208-tests.yml.gz"


def octets(text):
    # The suite writes octets above 127 as \xHH.
    return str(text).encode("latin-1").hex() or "-"


def line(*words):
    print("\t".join(words))


def records(name, entries):
    """Records of the old type SPF count as TXT where a name has no TXT of its own (comment in the suite)."""
    types = {next(iter(entry)) for entry in entries if isinstance(entry, dict)}
    for entry in entries:
        if entry == "TIMEOUT":
            line("record", octets(name), "TIMEOUT")
            continue
        ((kind, data),) = entry.items()
        if kind == "SPF":
            if "TXT" in types:
                continue
            kind = "TXT"
        if data == "NONE":
            continue
        if kind == "MX":
            data = data[1]
        if isinstance(data, list):
            data = "".join(data)
        line("record", octets(name), kind, octets(data))


with gzip.open(PATH) as file:
    for scenario in yaml.load_all(file, Loader=yaml.SafeLoader):
        line("scenario", octets(scenario["description"]))
        for name, entries in scenario["zonedata"].items():
            records(name, entries)
        for name, test in scenario["tests"].items():
            results = test["result"]
            line(
                "test",
                octets(name),
                octets(test["helo"]),
                octets(test["host"]),
                octets(test["mailfrom"]),
                ",".join([results] if isinstance(results, str) else results),
                octets(test["explanation"]) if "explanation" in test else "*",
            )
sys.stdout.flush()
