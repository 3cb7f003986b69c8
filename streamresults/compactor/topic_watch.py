"""
Notices what becomes of the topic while it is being folded: partitions that are added, its end, brokers that are away.

It asks on a thread of its own, so that no answer of a broker holds up what is being folded, and only remembers what it
was told: what follows from it is done by who asks, on the thread that folds.
"""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ServiceUnavailable, TopicMissing, TopicRecreated

if TYPE_CHECKING:
    from streamresults.topic.base import TopicInspector
    from streamresults.topic.records import TopicDescription

_log: Final = logging.getLogger("streamresults.compactor")
#: Seconds that closing waits for a question under way; its thread ends with the process all the same.
_ENDS_WITHIN: Final = 1.0
#: Seconds between two questions while nobody answers. Longer has the view look old for longer than it is.
_AGAIN: Final = 1.0
#: Times in a row that brokers must say that the topic is not there. Fewer believes a broker that has just started and
#: does not know its topics yet; more leaves whoever waits in the dark for longer.
MISSING_BELIEVED: Final = 3


class TopicWatch:
    """
    Asks which topic there is, again and again.

    Args:
        known: The topic that is being folded.
        every: Seconds between two questions: new partitions, and the topic's end, are noticed within that time.
    """

    def __init__(self, inspector: TopicInspector, known: TopicDescription, every: float) -> None:
        self._inspector: Final = inspector
        self._known: Final = known
        self._every: Final = every
        self._latest = known
        self._missing = 0
        self._in_touch = True
        self._gone: TopicMissing | None = None
        self._stop: Final = Event()
        self._thread: Final = Thread(target=self._ask_forever, name="streamresults-topic", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """End asking."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_ENDS_WITHIN)

    @property
    def in_touch(self) -> bool:
        """
        Whether the brokers have answered the last question. Never blocks.

        Where they have not, that nothing arrives does not mean that there is nothing: of what is folded nobody may say
        that it is up to date.
        """
        return self._in_touch

    def check(self) -> int:
        """
        Return how many partitions the topic has now. Never blocks.

        Raises:
            TopicRecreated: It was deleted and made again.
            TopicMissing: It was deleted.
        """
        if self._latest.topic_id != self._known.topic_id:
            raise recreated(self._known, self._latest)
        if self._gone is not None:
            raise self._gone
        return self._latest.partitions

    def ask(self) -> int:
        """
        Ask at once, then do as :meth:`check`; blocks until the brokers have answered.

        Raises:
            TopicUnavailable: They did not, or the topic is not there.
        """
        self._latest = self._inspector.describe(Deadline(ANSWER))
        self._found_touch()
        return self.check()

    def _ask_forever(self) -> None:
        while not self._stop.wait(self._every if self._in_touch else min(self._every, _AGAIN)):
            try:
                self._latest = self._inspector.describe(Deadline(ANSWER))
                self._missing, self._gone = 0, None
            except TopicMissing as exc:
                self._missing += 1
                if self._missing >= MISSING_BELIEVED:
                    self._gone = exc
            except ServiceUnavailable as exc:
                self._lost_touch(exc)
                continue
            self._found_touch()

    def _lost_touch(self, why: ServiceUnavailable) -> None:
        if self._in_touch:
            _log.warning(
                "Kafka does not answer, nothing is lost: the view grows older until it does: %s",
                why,
                extra={"action": "kafka_away"},
            )
        self._in_touch = False

    def _found_touch(self) -> None:
        if not self._in_touch:
            _log.info("Kafka answers again", extra={"action": "kafka_back"})
        self._in_touch = True


def recreated(known: TopicDescription, found: TopicDescription) -> TopicRecreated:
    """Return what to raise when a topic is not the one that it was."""
    msg = (
        f"topic {known.topic!r} was deleted and made again: its id was {known.topic_id} and is {found.topic_id}. "
        "Start the compactor again: it begins a new view; the old one is not used any more"
    )
    return TopicRecreated(msg, old_id=known.topic_id, new_id=found.topic_id)
