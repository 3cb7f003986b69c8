"""What was decided about recorded exceptions: counted by type and outcome, each unlisted type said once."""

from __future__ import annotations

import enum
import logging
import os
from threading import Lock
from typing import Final
from weakref import WeakSet

_log: Final = logging.getLogger("streamresults.exceptions")

#: Types counted by name; names come from records, and beyond this number they are counted as ``other``. Larger lets
#: a hostile publisher fill metrics and memory, smaller hides real types of a large system.
TYPES_MAX: Final = 1000
#: Unlisted types that are logged; beyond, the counts alone say it. Larger lets records fill the log.
LOGGED_MAX: Final = 50
#: Counts what has no name, and what came when too many names were counted.
NO_NAME: Final = ("", "")
OTHER: Final = "other"
_HINT: Final = 'allow = ["{}"] in streamresults.toml, or STREAMRESULTS_ALLOW={}'
#: Those of this process, to be told of a fork.
_DECISIONS: Final[WeakSet[Decisions]] = WeakSet()


class Decision(enum.StrEnum):
    """What the allowlist says to a recorded name; also the label that decisions are counted by."""

    #: Listed: it is rebuilt.
    ALLOWED = "allowed"
    #: Not listed: it becomes a RemoteTaskError.
    NOT_LISTED = "not_listed"
    #: Loaded here and not an exception class: it becomes a SecurityError.
    REFUSED = "refused"


class Decisions:
    """Counts of one process and one allowlist. Thread-safe; a forked child counts from nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        #: How a type is listed where this process is configured; ``{}`` stands for its name.
        self.hint = _HINT
        _DECISIONS.add(self)
        self._counts: dict[tuple[tuple[str, str], Decision], int] = {}
        self._told: set[tuple[str, str]] = set()

    def after_fork(self) -> None:
        """Forget, in a forked child, what the parent counted; another thread of it may have held the lock."""
        self._lock = Lock()
        self._counts = {}

    def count(self, names: tuple[str, str], decision: Decision) -> None:
        """Count one decision about a class, by its module and qualified name."""
        key = (names, decision)
        with self._lock:
            if key not in self._counts and len(self._counts) >= TYPES_MAX:
                key = (NO_NAME, decision)
            self._counts[key] = self._counts.get(key, 0) + 1

    def was_told(self, names: tuple[str, str]) -> bool:
        """Tell whether nothing more is to be logged about a class."""
        return names in self._told or len(self._told) >= LOGGED_MAX

    def tell(self, names: tuple[str, str], why: str) -> None:
        """Log, once for each type of a process, the exact line that would list it."""
        with self._lock:
            if self.was_told(names):
                return
            self._told.add(names)
        name = ":".join(names)
        _log.warning(
            "the exception %s %s. To list it: %s",
            name,
            why,
            self.hint.replace("{}", name),
            extra={"action": "exception_not_listed", "type": name},
        )

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """How often each type, ``module:QualifiedName``, had each outcome; outcomes are the words of Decision."""
        with self._lock:
            found = list(self._counts.items())
        return {
            (OTHER if names == NO_NAME else ":".join(names), str(decision)): count for (names, decision), count in found
        }


def _after_fork() -> None:
    for decisions in list(_DECISIONS):
        decisions.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
