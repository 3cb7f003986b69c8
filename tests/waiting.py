"""Waiting in tests: on a condition, up to a deadline, and never for a fixed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamresults.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks at a condition that nobody announces.
_LOOK_AGAIN = 0.01


def eventually(predicate: Callable[[], object], timeout: float = 30.0, what: str = "") -> None:
    """Return as soon as the predicate holds; fail when it does not within the timeout."""
    deadline = Deadline(timeout)
    while not predicate():
        if deadline.passed():
            message = f"not within {timeout:g} s: {what or predicate}"
            raise AssertionError(message)
        time.sleep(deadline.remaining(_LOOK_AGAIN))
