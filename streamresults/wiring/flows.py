"""The flows of one configuration, made of what it is connected to and encodes with."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ConfigurationError
from streamresults.wiring.encoding import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client
    from streamresults.compactor import Compactor
    from streamresults.events.event import Event
    from streamresults.events.summarize import Ranks
    from streamresults.publisher import Publisher
    from streamresults.replay import Replay
    from streamresults.settings import Settings
    from streamresults.topic.base import TopicInspector

_log = logging.getLogger("streamresults.wiring")


class Wiring(Encoding):
    """
    Opens the flows of one configuration.

    What is opened belongs to the opener, who closes it; the wiring's own connections end with :meth:`close`.

    Args:
        broker: Instead of the Kafka that the settings name, such as the one in memory.
        store: Instead of the Redis that they name.
        credentials: What gives the login of the Redis that they name; see :class:`Connections`.
    """

    def publisher(
        self,
        *,
        worker: str = "",
        redact: Callable[[Event], Event] | None = None,
        exception_safe_to_retry: Callable[[BaseException], bool] | None = None,
    ) -> Publisher:
        """
        Open a publisher; it connects when it is warmed, or with its first event.

        Raises:
            ConfigurationError: ``compression`` or ``serializer`` names none, the payload store's driver is missing,
                ``spool`` is no directory that can be used, or keys are configured and none to sign with.
        """
        from streamresults.publisher import Publisher, PublisherOptions, RetryOptions

        settings, broker = self.settings, self.broker()
        self._check_signing()
        self._check_spool()
        return Publisher(
            lambda: broker.writer(settings.topic),
            self.codec(),
            self._registry().by_name(settings.serializer),
            PublisherOptions(
                schemas_topic=settings.schemas_topic,
                publish_timeout=settings.publish_timeout,
                result_expires=settings.result_expires,
                longest_expiry=settings.longest_expiry,
                task_expires=settings.task_expires,
                extended_metadata=settings.extended_metadata,
                exception_limits=self.limits(),
                allowlist=self.allowlist(),
                progress_interval=settings.progress_interval,
                spool=settings.spool,
                spool_bytes=settings.spool_bytes,
                retry=RetryOptions(
                    always_retry=settings.always_retry,
                    max_retries=settings.max_retries,
                    base_sleep_ms=settings.retry_base_sleep_ms,
                    max_sleep_ms=settings.retry_max_sleep_ms,
                ),
                worker=worker or f"{os.getpid()}@{socket.gethostname()}",
            ),
            topic_id=self._topic_id,
            redact=redact,
            packing=self._packing(),
            safe_to_retry=exception_safe_to_retry,
        )

    def _check_spool(self) -> None:
        """Refuse a spool that could keep nothing, before the outage instead of in it."""
        if not self.settings.spool:
            return
        from pathlib import Path

        from streamresults.disk import try_directory

        try:
            try_directory(Path(self.settings.spool))
        except OSError as exc:
            msg = f"spool names {self.settings.spool!r}, where nothing can be kept: {exc.strerror or exc}"
            raise ConfigurationError(msg) from exc

    def _check_signing(self) -> None:
        """Refuse to publish what everybody would refuse, before the first event instead of with it."""
        keyring, settings = self.keyring(), self.settings
        if keyring is None:
            return
        keyring.sign(settings.topic, b"", None)
        longest = _longest_in_queue(settings)
        if 0 < settings.signature_window < longest:
            msg = (
                f"signature_window {settings.signature_window:g} s is shorter than a record may wait for the brokers, "
                f"{longest:g} s by publish_timeout or kafka's message.timeout.ms: what waited so long would be refused"
            )
            raise ConfigurationError(msg)

    def client(self) -> Client:
        """Open a client; it connects when it is first used."""
        from streamresults.client import Client, ClientOptions, Services
        from streamresults.client.whereabouts import Whereabouts

        settings = self.settings
        broker = self.broker() if self.has_topic else None

        def open_services() -> Services:
            inspector = self.inspector() if broker else None
            store = self.store() if self.has_store else None
            found = Whereabouts(
                inspector=inspector,
                store=store,
                topic=settings.topic,
                namespace=settings.namespace,
                partition_of=broker.partition_of if broker else _partition_of,
                every=self._topic_refresh(),
            )
            return Services(found, inspector, store)

        return Client(
            open_services,
            self.decoding(),
            open_reader=(lambda: broker.reader(settings.topic)) if broker else None,
            open_writer=(lambda: broker.writer(settings.topic)) if broker else None,
            options=ClientOptions(
                wait_timeout=settings.wait_timeout,
                wait_interval=settings.wait_interval,
                safety_rereads=settings.safety_rereads,
                join_budget=settings.join_budget,
                result_cache_max=settings.result_cache_max,
                schemas_topic=settings.schemas_topic,
                result_expires=settings.result_expires,
            ),
            refusals=self.refusals,
        )

    def compactor(self, *, from_earliest: bool = False) -> Compactor:
        """
        Open a compactor.

        Raises:
            TopicUnavailable: Kafka did not say which topic this is.
            ConfigurationError: A setting of the topic breaks a promise; the message has the command that mends it.
        """
        inspector = self.inspector()
        try:
            return self._compactor(inspector, from_earliest=from_earliest)
        except BaseException:
            inspector.close()
            raise

    def _compactor(self, inspector: TopicInspector, *, from_earliest: bool) -> Compactor:
        from streamresults.compactor import Compactor, CompactorOptions
        from streamresults.compactor.backfill import Backfill
        from streamresults.compactor.dead_letters import DeadLetters
        from streamresults.compactor.folding import FoldLimits
        from streamresults.store.keys import group_name

        settings, broker = self.settings, self.broker()
        about = inspector.describe(Deadline(ANSWER))
        self._check_contract(inspector)
        namespace = self.namespace(about)
        group = settings.group or group_name(namespace, settings.topic)
        letters = broker.writer(settings.dead_letter_topic)
        limits = FoldLimits(
            retention_ms=self.retention_ms(inspector),
            inline_max=settings.inline_max,
            batch_events=settings.batch_events,
            batch_bytes=settings.batch_bytes,
        )
        backfill = Backfill(
            open_reader=lambda: broker.reader(settings.topic, bulk=True),
            inspector=inspector,
            codec=self.codec(),
            dead_letters=DeadLetters(letters, settings.dead_letter_topic, settings.topic),
            limits=limits,
        )
        return Compactor(
            group=broker.group(settings.topic, group),
            inspector=inspector,
            store=self.store(),
            codec=self._ranks(),
            partition_of=broker.partition_of,
            dead_letters=DeadLetters(letters, settings.dead_letter_topic, settings.topic),
            backfill=backfill,
            options=CompactorOptions(
                namespace=namespace,
                from_earliest=from_earliest,
                allow_eviction=settings.allow_eviction,
                rewind_max=settings.rewind_max,
                topic_refresh=self._topic_refresh(),
                limits=limits,
            ),
        )

    def _ranks(self) -> Ranks:
        """Return what ranks records for the fold; where exceptions are listed, it says what becomes of each."""
        if not (self.settings.allow or self.settings.allow_file):
            return self.codec()
        from streamresults.compactor.judging import Judging

        try:
            return Judging(self.codec(), self.allowlist())
        except ConfigurationError as exc:
            # A configuration that is shared with workers names classes that need not be installed here.
            _log.warning("exceptions that pass are not looked at: %s", exc, extra={"action": "exceptions_not_judged"})
            return self.codec()

    def _check_contract(self, inspector: TopicInspector) -> None:
        """Refuse to fold a topic whose settings break a promise."""
        from streamresults.topic.contract import mend, obstacles

        config = inspector.topic_config(Deadline(ANSWER))
        found = obstacles(self.settings, config) if config else []
        if found:
            told = "; ".join(f"{difference}. To mend: {mend(difference)}" for difference in found)
            msg = f"the topic cannot be compacted as it is set up: {told}"
            raise ConfigurationError(msg)

    def replay(self) -> Replay:
        """Open a replay: it reads the topic and commits nothing; with Redis it can verify the view."""
        from streamresults.replay import Replay

        broker, settings = self.broker(), self.settings
        inspector = self.inspector()
        return Replay(
            open_reader=lambda: broker.reader(settings.topic, bulk=True),
            inspector=inspector,
            codec=self.codec(),
            store=self.store() if self.has_store else None,
            namespace=settings.namespace,
            partition_of=broker.partition_of,
            retention_ms=lambda: self.retention_ms(inspector),
        )


def _longest_in_queue(settings: Settings) -> float:
    """Return the seconds for which librdkafka may hold a record; infinity for ever."""
    named = ("message.timeout.ms", "delivery.timeout.ms")
    stated = [settings.kafka[name] for name in named if settings.kafka.get(name, "").isdigit()]
    return max((int(text) / 1000 or float("inf") for text in stated), default=settings.publish_timeout)


def _partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key in a process without Kafka: the partitioner alone, no connection."""
    from streamresults.topic.kafka import KafkaBroker

    return KafkaBroker("").partition_of(key, partitions)
