"""Cluster, store and what is asked of them, of one configuration: each opened when it is first needed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ConfigurationError, ServiceUnavailable

if TYPE_CHECKING:
    from types import TracebackType

    from streamresults.events.signatures import Keyring
    from streamresults.settings import Settings
    from streamresults.store.base import Store
    from streamresults.store.parts import Parts
    from streamresults.topic.base import Broker, TopicInspector
    from streamresults.topic.records import TopicDescription
    from streamresults.topic.refusals import Refusals

_DAY_MS = 86_400_000
#: Seconds between looks at which topic there is. Smaller asks the brokers more often, larger delays new partitions.
_TOPIC_REFRESH = 10.0


class Connections:
    """
    What the flows of one configuration are connected to.

    Args:
        broker: Instead of the Kafka that the settings name, such as the one in memory.
        store: Instead of the Redis that they name.
        credentials: A credential provider of redis-py's, or a class of them, that gives the login of the Redis that
            they name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        broker: Broker | None = None,
        store: Store | None = None,
        credentials: object = None,
    ) -> None:
        self.settings = settings
        self._broker = broker
        #: The same with signatures, where they are configured.
        self._signed: Broker | None = None
        #: What was refused for its signature.
        self.refusals: Refusals | None = None
        self._store = store
        self._credentials = credentials
        self._owned = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release what the wiring itself opened."""
        self._owned.close()

    # -- the cluster -------------------------------------------------------------------------------------------------

    @property
    def has_topic(self) -> bool:
        """Whether Kafka is configured."""
        return self._broker is not None or bool(self.settings.kafka_bootstrap)

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

    def inspector(self) -> TopicInspector:
        """Open a connection that answers questions about the topic."""
        return self.broker().inspector(self.settings.topic)

    def _topic_id(self) -> str:
        inspector = self.inspector()
        try:
            return inspector.describe(Deadline(ANSWER)).topic_id
        except ServiceUnavailable:
            return ""  # a position without it is as good, but for telling a topic that was made again
        finally:
            inspector.close()

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

    # -- the store ---------------------------------------------------------------------------------------------------

    @property
    def has_store(self) -> bool:
        """Whether Redis is configured."""
        return self._store is not None or bool(self.settings.redis_url)

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

        return RedisStore(self.settings.redis_url, self._credentials)

    def namespace(self, about: TopicDescription) -> str:
        """Return the prefix of keys, channels and the group."""
        return self.settings.namespace or about.cluster_id

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
