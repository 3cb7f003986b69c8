"""What was refused for its signature: counted by reason, and logged, but not for each record: there may be millions."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamresults.errors import SignatureRefused
    from streamresults.topic.records import Record

_log: Final = logging.getLogger("streamresults.signatures")


class Refusals:
    """Counts of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many records were refused, by :attr:`SignatureRefused.why`."""
        with self._lock:
            return dict(self._counts)

    def count(self, topic: str, record: Record, error: SignatureRefused) -> None:
        """Count one, and log the 1st, 10th, 100th and so on of each reason."""
        with self._lock:
            count = self._counts[error.why] = self._counts.get(error.why, 0) + 1
        if count == 10 ** (len(str(count)) - 1):
            _log.warning(
                "refused for its signature: %s[%s]@%s: %s%s",
                topic,
                record.partition(),
                record.offset(),
                error,
                f"; {count} so far" if count > 1 else "",
                extra={"action": "signature_refused", "why": error.why, "count": count},
            )
