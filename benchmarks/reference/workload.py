"""The task that every row is about: a call with extended metadata and a result of some 150 bytes of JSON."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Metadata fields of every event.
METADATA: Final[dict[str, Any]] = {
    "name": "shop.orders.charge",
    "worker": "celery@worker-7.eu-west.example",
    "queue": "payments.high",
    "retries": 1,
}


class Values(NamedTuple):
    """What a call was given and what it returned."""

    result: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]


def values(number: int) -> Values:
    """Return everything that one task is about."""
    return Values(result(number), arguments(number), keywords(number))


def result(number: int) -> dict[str, Any]:
    """Return what the task returns."""
    return {
        "x": number,
        "y": [1, 2, 3],
        "status": "charged",
        "amount": 129.9,
        "currency": "EUR",
        "receipt": {"id": "rcpt_8fk2m1q0", "lines": 4, "paid": True},
    }


def arguments(number: int) -> list[Any]:
    """Return the call's positional arguments."""
    return [number, "card_9f2c77", 12.5]


def keywords(number: int) -> dict[str, Any]:
    """Return the call's keyword arguments."""
    return {"customer": f"customer-{number % 1000}", "notify": True, "note": None}


def task_ids(count: int) -> list[str]:
    """Return that many ids, never used before."""
    return [str(uuid.uuid4()) for _ in range(count)]


def seeded_ids(seed: int, count: int) -> Iterator[str]:
    """Give the ids of a seed, one by one: the same in every process."""
    bits = random.Random(seed).getrandbits
    for _ in range(count):
        yield str(uuid.UUID(int=bits(128), version=4))


def new_seed() -> int:
    """Return a seed that was never used before."""
    return uuid.uuid4().int >> 64
