"""
Settings to real objects: the only place that names implementations, and the only one that opens client libraries.

Each library is imported when its door is first opened, so that importing streamresults costs none of them.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ConfigurationError, ServiceUnavailable
from streamresults.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from streamresults.aio import AsyncClient, AsyncPublisher
    from streamresults.client import Client
    from streamresults.client.result import Decoding
    from streamresults.compactor import Compactor
    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.codec import Codec
    from streamresults.events.compression import PayloadLimits
    from streamresults.events.event import Event
    from streamresults.events.limits import Limits
    from streamresults.events.payloads import SerializerRegistry
    from streamresults.events.signatures import Keyring
    from streamresults.events.summarize import Ranks
    from streamresults.payload_store.base import PayloadStore
    from streamresults.payload_store.bodies import Packing
    from streamresults.publisher import Publisher
    from streamresults.replay import Replay
    from streamresults.store.base import Store
    from streamresults.store.parts import Parts
    from streamresults.topic.base import Broker, TopicDescription, TopicInspector
    from streamresults.topic.refusals import Refusals

_log = logging.getLogger("streamresults.wiring")
_DAY_MS = 86_400_000
#: Seconds between looks at which topic there is. Smaller asks the brokers more often, larger delays new partitions.
_TOPIC_REFRESH = 10.0


class Wiring:
    """
    Opens the flows of one configuration.

    What is opened belongs to the opener, who closes it; the wiring's own connections end with :meth:`close`.

    Args:
        broker: Instead of the Kafka that the settings name, such as the one in memory.
        store: Instead of the Redis that they name.
    """

    def __init__(self, settings: Settings, *, broker: Broker | None = None, store: Store | None = None) -> None:
        self.settings = settings
        self._broker = broker
        #: The same with signatures, where they are configured.
        self._signed: Broker | None = None
        #: What was refused for its signature.
        self.refusals: Refusals | None = None
        self._store = store
        self._codec: Codec | None = None
        self._allowlist: ExceptionAllowlist | None = None
        self._owned = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release what the wiring itself opened."""
        self._owned.close()

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def has_topic(self) -> bool:
        """Whether Kafka is configured."""
        return self._broker is not None or bool(self.settings.kafka_bootstrap)

    @property
    def has_store(self) -> bool:
        """Whether Redis is configured."""
        return self._store is not None or bool(self.settings.redis_url)

    def broker(self) -> Broker:
        """
        Return the cluster; one that signs and checks, where keys are configured.

        Raises:
            ConfigurationError: None is configured, or its keys are none.
        """
        if self._signed is None:
            inner, keyring = self._cluster(), self.keyring()
            self._signed = inner if keyring is None else self._signing(inner, keyring)
        return self._signed

    def _signing(self, inner: Broker, keyring: Keyring) -> Broker:
        from streamresults.topic.signed import SignedBroker

        signed = SignedBroker(inner, keyring, (self.settings.topic, self.settings.schemas_topic))
        self.refusals = signed.refusals
        return signed

    def keyring(self) -> Keyring | None:
        """
        Return what signs and checks, ``None`` where no key is configured.

        Raises:
            ConfigurationError: A key is none, or one that is named is not there.
        """
        settings = self.settings
        stated = (settings.signing_keys, settings.signing_key_id, settings.signing_retired, settings.unsigned_before)
        if not any(stated):
            return None
        from streamresults.events.signatures import Keyring, Rules

        rules = Rules(
            retired=settings.signing_retired,
            window=settings.signature_window,
            unsigned_before=settings.unsigned_before,
        )
        return Keyring(settings.signing_keys, sign_with=settings.signing_key_id, rules=rules)

    def _cluster(self) -> Broker:
        if self._broker is None:
            if not self.settings.kafka_bootstrap:
                msg = "no Kafka is configured: set STREAMRESULTS_KAFKA_BOOTSTRAP, or pass --bootstrap"
                raise ConfigurationError(msg)
            from streamresults.topic.kafka import KafkaBroker, WriterSettings

            self._broker = KafkaBroker(
                self.settings.kafka_bootstrap,
                properties=self.settings.kafka,
                writing=WriterSettings(
                    timeout=self.settings.publish_timeout,
                    queue_records=self.settings.publish_queue_max,
                    queue_kib=max(1, self.settings.publish_queue_bytes // 1024),
                ),
                group_fetch_bytes=self.settings.fetch_bytes,
            )
        return self._broker

    def store(self) -> Store:
        """
        Open a store; in-memory ones are shared.

        Raises:
            ConfigurationError: None is configured.
        """
        if self._store is not None:
            return self._store
        if not self.settings.redis_url:
            msg = "no Redis is configured: set STREAMRESULTS_REDIS_URL, or pass --redis"
            raise ConfigurationError(msg)
        from streamresults.store.redis import RedisStore

        return RedisStore(self.settings.redis_url)

    def parts(self) -> Parts:
        """
        Open the sets of parts that are counted beside the view.

        Raises:
            ConfigurationError: No store is configured, or without Kafka no namespace.
            TopicUnavailable: Kafka did not say which cluster this is; with a namespace configured nobody asks.
        """
        settings = self.settings
        namespace = settings.namespace
        if not namespace:
            inspector = self.inspector()
            try:
                namespace = self.namespace(inspector.describe(Deadline(ANSWER)))
            finally:
                inspector.close()
        store = self.store()
        self._owned.callback(store.close)
        return store.parts(namespace, settings.topic)

    def inspector(self) -> TopicInspector:
        """Open a connection that answers questions about the topic."""
        return self.broker().inspector(self.settings.topic)

    def codec(self) -> Codec:
        """Return the codec, which finds schemas of other releases in the schemas topic."""
        if self._codec is None:
            from streamresults.events.codec import Codec

            resolve: Callable[[bytes], str | None] | None = None
            if self.has_topic:
                from streamresults.topic.schemas import SchemaTopic

                schemas = SchemaTopic(self.broker(), self.settings.schemas_topic)
                self._owned.callback(schemas.close)
                resolve = schemas.find
            self._codec = Codec(resolve, record_max=self.settings.record_max)
        return self._codec

    def decoding(self) -> Decoding:
        """
        Return what turns bytes into values.

        Raises:
            ConfigurationError: ``accept`` names a serializer that there is not.
        """
        from streamresults.client.result import Decoding
        from streamresults.payload_store.bodies import Unpacking

        registry = self._registry()
        accept = registry.content_types(self.settings.accept)
        bodies = Unpacking(self.payload_store(), self._payload_limits())
        return Decoding(self.codec(), registry, accept, self.allowlist(), self.limits(), bodies)

    def payload_store(self) -> PayloadStore | None:
        """
        Return where large payloads rest, ``None`` when that is not configured.

        Raises:
            ConfigurationError: What reaches it is not installed.
        """
        place = self.settings.payload_store
        if not place:
            return None
        scheme, separator, path = place.partition("://")
        if not separator or scheme == "file":
            from streamresults.payload_store.directory import DirectoryStore

            return DirectoryStore(path if separator else place)
        try:
            from streamresults.payload_store.remote import RemoteStore
        except ImportError as exc:
            msg = f"the payload store {place!r} needs fsspec: pip install 'streamresults[fsspec]'"
            raise ConfigurationError(msg) from exc
        return RemoteStore(place)

    def _payload_limits(self) -> PayloadLimits:
        from streamresults.events.compression import PayloadLimits

        return PayloadLimits(size=self.settings.payload_max, ratio=self.settings.payload_ratio)

    def _packing(self) -> Packing:
        from streamresults.events.compression import check_encoding
        from streamresults.payload_store.bodies import Packing, PackingOptions

        settings = self.settings
        check_encoding(settings.compression)
        options = PackingOptions(
            compression=settings.compression,
            compress_above=settings.compress_above,
            store_above=settings.payload_store_above,
            limits=self._payload_limits(),
        )
        return Packing(self.payload_store(), options)

    def allowlist(self) -> ExceptionAllowlist:
        """
        Return which exceptions may be rebuilt; the same one whoever asks, as it counts.

        Raises:
            ConfigurationError: An entry cannot hold; the message names it.
        """
        if self._allowlist is None:
            from streamresults.events.allow_file import entries_of
            from streamresults.events.allowlist import ExceptionAllowlist

            self._allowlist = ExceptionAllowlist(
                [*self.settings.allow, *entries_of(self.settings.allow_file)],
                name_max=self.settings.exception_name_max,
            )
        return self._allowlist

    @property
    def decisions(self) -> dict[tuple[str, str], int]:
        """How often each type of exception had each outcome, in all that this wiring opened."""
        return {} if self._allowlist is None else self._allowlist.decisions.counts

    def _registry(self) -> SerializerRegistry:
        """Return the serializers of this process; pickle is one of them only where a setting names it."""
        from streamresults.events.payloads import default_registry

        depth = self.settings.payload_depth_max
        registry = default_registry(depth)
        if {"pickle", "application/x-python-serialize"} & {self.settings.serializer, *self.settings.accept}:
            from streamresults.events.pickled import PickleSerializer

            registry.register(PickleSerializer(self.allowlist(), depth))
        return registry

    def limits(self) -> Limits:
        """Return how much of an exception travels."""
        from streamresults.events.limits import Limits

        return Limits(**{name: getattr(self.settings, f"exception_{name}_max") for name in Limits.__struct_fields__})

    def namespace(self, about: TopicDescription) -> str:
        """Return the prefix of keys, channels and the group."""
        return self.settings.namespace or about.cluster_id

    def _topic_refresh(self) -> float:
        """Return the seconds between looks at which topic there is: as often as librdkafka itself is told to look."""
        stated = self.settings.kafka.get("topic.metadata.refresh.interval.ms", "")
        return int(stated) / 1000 if stated.isdigit() and int(stated) else _TOPIC_REFRESH

    def retention_ms(self, inspector: TopicInspector) -> int:
        """Return the topic's retention; where the broker cannot tell, the least that the settings ask of it."""
        from streamresults.events.fold import NEVER

        config = inspector.topic_config(Deadline(ANSWER)) or {}
        stated = int(config.get("retention.ms", self.settings.longest_expiry * 1000 + _DAY_MS))
        return NEVER if stated < 0 else stated

    # -- flows ------------------------------------------------------------------------------------------------------

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
                or keys are configured and none to sign with.
        """
        from streamresults.publisher import Publisher, PublisherOptions, RetryOptions

        settings, broker = self.settings, self.broker()
        self._check_signing()
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

    def _topic_id(self) -> str:
        inspector = self.inspector()
        try:
            return inspector.describe(Deadline(ANSWER)).topic_id
        except ServiceUnavailable:
            return ""  # a position without it is as good, but for telling a topic that was made again
        finally:
            inspector.close()

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


def open_publisher(
    *,
    worker: str = "",
    redact: Callable[[Event], Event] | None = None,
    exception_safe_to_retry: Callable[[BaseException], bool] | None = None,
    **settings: Any,
) -> Publisher:
    """
    Open a publisher with the configuration of this process, and what is stated here over it.

    Args:
        worker: Who publishes; process id and host when not stated.
        redact: Sees every event before it is encoded and returns what is published in its place.
        exception_safe_to_retry: Decides of an error whether the event is published again.
        settings: Fields of :class:`streamresults.Settings`.

    Example::

        with streamresults.open_publisher(kafka_bootstrap="localhost:9092") as publisher:
            publisher.succeeded("order-7", {"paid": True})

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    return Wiring(load(settings)).publisher(
        worker=worker, redact=redact, exception_safe_to_retry=exception_safe_to_retry
    )


def open_client(**settings: Any) -> Client:
    """
    Open a client with the configuration of this process, and what is stated here over it.

    Example::

        with streamresults.open_client(kafka_bootstrap="localhost:9092", redis_url="redis://localhost") as client:
            print(client.get("order-7", timeout=10))

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    return Wiring(load(settings)).client()


def open_async_publisher(
    *,
    worker: str = "",
    redact: Callable[[Event], Event] | None = None,
    exception_safe_to_retry: Callable[[BaseException], bool] | None = None,
    **settings: Any,
) -> AsyncPublisher:
    """
    Open a publisher for event loops; see :func:`open_publisher`. It connects with its first event, so this blocks not.

    Example::

        async with streamresults.open_async_publisher(kafka_bootstrap="localhost:9092") as publisher:
            await publisher.succeeded("order-7", {"paid": True})

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    from streamresults.aio import AsyncPublisher

    return AsyncPublisher(
        open_publisher(worker=worker, redact=redact, exception_safe_to_retry=exception_safe_to_retry, **settings)
    )


def open_async_client(**settings: Any) -> AsyncClient:
    """
    Open a client for event loops; see :func:`open_client`. It connects when it is first used, so this blocks not.

    Example::

        async with streamresults.open_async_client(redis_url="redis://localhost") as client:
            print(await client.get("order-7", timeout=10))

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    from streamresults.aio import AsyncClient

    return AsyncClient(open_client(**settings))
