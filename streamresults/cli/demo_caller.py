"""The caller of the demonstration of Celery: whatever it does is Celery's own interface. It runs beside ``shop.py``."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Final

from streamresults.cli.demo_lines import told
from streamresults.errors import RemoteTaskError

#: Seconds for one call.
_PATIENCE: Final = 20.0
#: Parts of the chord.
_PARTS: Final = 10


def call() -> None:
    """Call the application's tasks, and say what has become of each."""
    shop = import_module("shop")
    _returned("add.delay(2, 2).get()", shop.add.delay(2, 2), "joined from the topic")
    _raised("ship.delay('order-7')", shop.ship.delay("order-7"), shop.OutOfStock)
    _raised("charge.delay('card_9')", shop.charge.delay("card_9"), shop.Declined)
    header = [shop.add.s(number, number) for number in range(_PARTS)]
    _returned(f"chord of {_PARTS} add.s(n, n)", shop.chord(header)(shop.total.s()), "its body was sent once, and run")
    _unknown(shop.app.AsyncResult("nobody"))


def _returned(text: str, result: Any, note: str) -> None:
    began = time.perf_counter()
    value = result.get(timeout=_PATIENCE)
    took = (time.perf_counter() - began) * 1000
    told("ok", text, repr(value), f"{note} in {took:.0f} ms", result.id)


def _raised(text: str, result: Any, listed: type[Exception]) -> None:
    name = listed.__name__
    try:
        result.get(timeout=_PATIENCE)
    except listed as exc:
        told("failed", text, f"{name}: {exc}", f"except {name} catches it: its task lists it, with throws", result.id)
    except RemoteTaskError as exc:
        note = f"a RemoteTaskError with its name: streamresults_allow = ['shop:{name}'] would have it rebuilt"
        told("failed", text, str(exc).splitlines()[0], note, result.id)


def _unknown(result: Any) -> None:
    note = f"as ever with Celery; but result.exists() is {result.exists()}: the whole log has been folded up to now"
    told("unknown", "a task that never was", result.state, note, result.id)
