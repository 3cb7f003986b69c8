"""
Publishes the view's descriptor: which topic the view is of, and how many partitions the topic has and had.

Several compactors do so at once. Each adds what it knows and takes nothing back, and none publishes the view of a topic
that is gone.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from streamresults.errors import ServiceUnavailable
from streamresults.events.fold import NEVER
from streamresults.store.base import Descriptor
from streamresults.store.coverage import FORMAT
from streamresults.store.partition_counts import merged
from streamresults.topic.records import NO_TOPIC_ID

if TYPE_CHECKING:
    from streamresults.compactor.placement import Placement
    from streamresults.compactor.topic_watch import TopicWatch
    from streamresults.store.base import Store
    from streamresults.topic.records import TopicDescription

_log: Final = logging.getLogger("streamresults.compactor")


class DescriptorPublisher:
    """
    The descriptor of one compactor's view. One thread makes all calls.

    Args:
        watch: Asks the brokers which topic there is.
        placement: Knows what counts the records give away, and is told of what others know.
        retention_ms: How long a record can be read.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        about: TopicDescription,
        watch: TopicWatch,
        placement: Placement,
        *,
        retention_ms: int,
        evicting: bool,
    ) -> None:
        self._store: Final = store
        self._namespace: Final = namespace
        self._about: Final = about
        self._watch: Final = watch
        self._placement: Final = placement
        self._retention_ms: Final = retention_ms
        #: What this process knows: it survives the loss of what is published.
        self._known = Descriptor(
            cluster_id=about.cluster_id,
            topic=about.topic,
            topic_id=about.topic_id,
            partition_counts=(about.partitions,),
            format=FORMAT,
            evicting=evicting,
        )

    def publish(self) -> None:
        """
        Publish what is known, beside what others know; blocks until brokers and store have answered.

        Raises:
            TopicRecreated: The topic is not the one whose view this is: nothing was written.
            TopicUnavailable, StoreUnavailable: Somebody did not answer.
        """
        self._watch.ask()
        self.refresh()

    def refresh(self) -> None:
        """
        Publish again: what somebody overwrote comes back, and counts under which nothing can be read any more leave.

        Raises:
            TopicRecreated, TopicMissing: The topic is not there any more.
            StoreUnavailable: The store did not answer.
        """
        self._watch.check()
        before = self._placement.counts
        self._known = self._store.change_descriptor(self._namespace, self._about.topic, self._changed)
        self._placement.replace(before, self._known.partition_counts)

    def _changed(self, standing: Descriptor | None) -> Descriptor:
        """Return what is to be written; asked again when somebody else has written meanwhile."""
        if standing is not None and standing.topic_id != self._about.topic_id:
            # Asked after that was read: one of the two topics is gone, and a compactor of the newer one is not undone.
            self._watch.ask()
            _log.warning(
                "the view of topic id %s is that of a topic that is gone: a new view begins, of topic id %s",
                standing.topic_id,
                self._about.topic_id,
                extra={"action": "new_topic"},
            )
        told_apart = self._about.topic_id != NO_TOPIC_ID
        return merged(standing, self._known, _now_ms(), self._retention_ms, told_apart=told_apart)

    def notice_counts(self) -> None:
        """
        Publish counts that are new: from then on everybody looks there too. Blocks only when there are any.

        Raises:
            TopicRecreated, TopicMissing: The topic is not there any more.
        """
        partitions, before = self._watch.check(), self._known
        if partitions > before.partition_counts[0]:
            self._placement.know((partitions,))
        found = self._placement.counts
        if found == before.partition_counts:
            return
        self._known = merged(before, replace(before, partition_counts=found, superseded_ms=()), _now_ms(), NEVER)
        try:
            self.publish()
        except ServiceUnavailable as exc:
            self._known = before  # the next step tries again
            _log.warning("partition counts are not in the descriptor yet: %s", exc, extra={"action": "counts_late"})
            return
        _log.info(
            "partitions were added: the topic has had %s, newest first; known were %s",
            self._known.partition_counts,
            before.partition_counts,
            extra={"action": "partitions_added", "partitions": partitions},
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
