"""What a signature costs: microseconds for a record, beside one bare HMAC of its value."""

from __future__ import annotations

import hmac
import os
import time
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Pairs, alternately
from streamresults.events.signatures import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.measure import Row

NAMES: Final = ("signature_sign", "signature_check", "signature_check_64k")
_ROUNDS: Final = 21
_CALLS: Final = 2_000
_SMALL: Final = 300
_LARGE: Final = 65_536
_TOPIC: Final = "results"
_KEY: Final = b"3f0c7c52-0d1f-4a53-9f9c-6f1d2c9f0a77"


def rows(_bench: Bench | None, wanted: set[str]) -> Iterator[Row]:
    """Measure the rows; none of them needs a service."""
    secret = os.urandom(32).hex()
    keyring = Keyring({"bench": secret}, sign_with="bench")
    small, large = os.urandom(_SMALL), os.urandom(_LARGE)
    calls: dict[str, tuple[Callable[[], object], bytes]] = {
        "signature_sign": (lambda: keyring.sign(_TOPIC, _KEY, small), small),
        "signature_check": (_checked(keyring, small), small),
        "signature_check_64k": (_checked(keyring, large), large),
    }
    for name, (call, value) in calls.items():
        if name in wanted:
            figures = alternately(_ROUNDS, _microseconds(call), _microseconds(_bare(secret.encode(), value)))
            yield Pairs(*figures).row(name, "us", f"a value of {len(value)} bytes")


def _checked(keyring: Keyring, value: bytes) -> Callable[[], object]:
    signatures = [keyring.sign(_TOPIC, _KEY, value)]
    appended_ms = int(time.time() * 1000)
    return lambda: keyring.check(_TOPIC, _KEY, value, signatures, appended_ms)


def _bare(secret: bytes, value: bytes) -> Callable[[], object]:
    return lambda: hmac.digest(secret, value, "sha256")


def _microseconds(call: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        for _ in range(_CALLS):
            call()
        return (time.perf_counter() - began) / _CALLS * 1e6

    return measure
