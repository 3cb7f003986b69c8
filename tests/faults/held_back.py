"""Real stores and brokers that answer late, or break, at random moments: faults, not imitations."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from streamresults.errors import TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from streamresults.store.base import BatchReply, Interest, LiveBatch, Looked, Store, View
    from streamresults.topic.base import TopicReader
    from streamresults.topic.records import Polled


class Faulty:
    """Hands everything on to the real thing, except for what a subclass does late or not at all."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class HeldBackView(Faulty):
    """A view whose writes begin late and whose answers arrive late, each by a random time."""

    def __init__(self, inner: View, random: Random, longest: float) -> None:
        super().__init__(inner)
        self._random = random
        self._longest = longest

    def _hold(self, share: float) -> None:
        if self._random.random() < share:
            time.sleep(self._random.random() ** 3 * self._longest)  # mostly short, now and then long

    def apply(self, batches: Sequence[LiveBatch]) -> list[BatchReply]:
        """Fold, late."""
        self._hold(0.5)
        replies: list[BatchReply] = self.inner.apply(batches)
        self._hold(0.2)
        return replies

    def look(self, wanted: Mapping[int, Sequence[str]], interest: Interest | None = None) -> dict[int, Looked]:
        """Look, and be told late: what is decided then is decided on old knowledge."""
        self._hold(0.2)
        looked: dict[int, Looked] = self.inner.look(wanted, interest)
        self._hold(0.4)
        return looked


class HeldBackStore(Faulty):
    """A store whose views are held back."""

    def __init__(self, inner: Store, random: Random, longest: float) -> None:
        super().__init__(inner)
        self._random = random
        self._longest = longest

    def view(self, namespace: str, topic_id: str) -> HeldBackView:
        """Open a view that is held back."""
        return HeldBackView(self.inner.view(namespace, topic_id), self._random, self._longest)

    def close(self) -> None:
        """Leave the inner store open: several users share it."""


class BreakingReader(Faulty):
    """A reader that raises in the next poll when it is told to, and loses what it had just fetched."""

    def __init__(self, inner: TopicReader) -> None:
        super().__init__(inner)
        self.break_now = threading.Event()

    def poll(self, timeout: float) -> Polled:
        """Poll, or break."""
        polled: Polled = self.inner.poll(timeout)
        if self.break_now.is_set():
            self.break_now.clear()
            message = "broken on purpose"
            raise TopicUnavailable(message)
        return polled
