"""Clients of every bad kind at once, for a minute: memory and descriptors stay flat, and honest mail goes through.

GATEPOST_MIXED_SECONDS is how long: 60 by default, 3600 for the hour before a release. The samples are printed (-s).
"""

from __future__ import annotations

import os

import pytest

from harness import certificates
from harness.gatepost import EXTRA_OCTETS, Gatepost
from harness.mixed import MixedTraffic, Sample
from harness.waiting import wait_until
from harness.wire import accepting

pytestmark = pytest.mark.xdist_group("storm")

SECONDS = float(os.environ.get("GATEPOST_MIXED_SECONDS", "60"))
MIB = 1 << 20


def growth(samples: list[Sample]) -> int:
    """By how many octets the last third lies above the second, each by the mean of its samples.

    The first third is left out: buffers and tables reach their sizes in it.
    """
    third = len(samples) // 3
    means = [sum(each.octets for each in part) / len(part) for part in (samples[third:-third], samples[-third:])]
    return round(means[1] - means[0])


def test_memory_and_descriptors_stay_flat(gatepost: Gatepost) -> None:
    certificate = certificates.make(gatepost.folder, "mx", "mx1.example.com")
    gatepost.frontend_toml["tls"] = {"certificate": [certificate.toml], "handshake_timeout_ms": 1_000}
    gatepost.listener["tls"] = "starttls"
    gatepost.limits(max_sessions_per_ip=0, command_timeout_ms=5_000, data_timeout_ms=5_000, reply_timeout_ms=2_000)
    frontend = gatepost.frontend("--log-level", "error", ready=False)
    hooks = {"rcpt": {}, "data_post": {"needs": ["message", "headers"]}, "queue": {}}
    with gatepost.python_worker(hooks, accepting(), concurrency=1_000):
        frontend.ready()
        idle = len(frontend.descriptors())
        traffic = MixedTraffic(gatepost.port)
        samples = traffic.run(frontend, SECONDS, interval=max(0.5, SECONDS / 120))
        print(dict(traffic.counts), f"{traffic.accepted} messages accepted")
        assert not traffic.problems, traffic.problems[:5]
        assert set(traffic.counts) == {name for name, _ in traffic.KINDS}, "each kind has had its turn"
        assert traffic.accepted > 0
        wait_until(
            lambda: len(frontend.descriptors()) <= idle + 1, 30, lambda: f"{idle} before: {frontend.descriptors()}"
        )
        gatepost.spool_is_empty()
        # What a session leaves behind would add up: there are hundreds a second.
        sessions = samples[-1].sessions - samples[len(samples) // 3].sessions
        assert growth(samples) < max(3 * MIB, samples[-1].octets // 20) + EXTRA_OCTETS, (
            f"{growth(samples) / MIB:.1f} MiB more after {sessions} sessions"
        )
