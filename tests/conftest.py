"""Services and names for every test: real Kafka and real Redis, started once, skipped at a desk and required in CI."""

from __future__ import annotations

import logging
import os
import secrets
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.contract import least_retention, wanted_topics
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests import services
from tests.starting import required

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.store.redis import RedisStore


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every test from the defaults, whatever the shell exports."""
    for name in list(os.environ):
        if name.startswith("STREAMRESULTS_") and not name.startswith(("STREAMRESULTS_TEST_", "STREAMRESULTS_CACHE")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Leave logging as it was: the program, run within a test's own process, sets it up for its process."""
    loggers = [logging.getLogger(name) for name in (None, "streamresults", "streamresults.librdkafka")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        # pytest's own, which it puts there for each test, come and go with it.
        logger.handlers[:] = [handler for handler in logger.handlers if _is_pytests(handler)]
        logger.handlers += [handler for handler in handlers if handler not in logger.handlers]


def _is_pytests(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("_pytest")


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Give the address of a real Kafka that the whole run shares."""
    service = required(services.kafka)
    yield service.address
    service.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Give the URL of a real Redis that the whole run shares; tests keep apart by their namespaces."""
    service = required(services.redis)
    yield service.address
    service.close()


@pytest.fixture(scope="session")
def redis_store(redis_url: str) -> Iterator[RedisStore]:
    """Give a store on the shared Redis."""
    from streamresults.store.redis import RedisStore  # noqa: PLC0415 -- only where Redis is wanted

    store = RedisStore(redis_url)
    yield store
    store.close()


def create_topics(wiring: Wiring, partitions: int = 4) -> None:
    """Create the three topics of a wiring's settings."""
    settings = wiring.settings
    topics = wanted_topics(settings, 1, partitions=partitions, replication=1, retention=least_retention(settings))
    wiring.broker().create_topics(topics, Deadline(30))


@pytest.fixture
def memory_wiring() -> Iterator[Wiring]:
    """Give a wiring on the in-memory topic and store, with its topics made."""
    with Wiring(Settings(), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        create_topics(wiring)
        yield wiring


@pytest.fixture
def real_wiring(kafka_bootstrap: str, redis_url: str) -> Iterator[Wiring]:
    """Give a wiring on real Kafka and real Redis with a topic and a namespace of its own."""
    name = f"t-{secrets.token_hex(5)}"
    settings = Settings(kafka_bootstrap=kafka_bootstrap, redis_url=redis_url, topic=name, namespace=name)
    with Wiring(settings) as wiring:
        create_topics(wiring)
        yield wiring


@pytest.fixture(params=["memory", "real"])
def wiring(request: pytest.FixtureRequest) -> Wiring:
    """Give both kinds of wiring, one after the other."""
    found: Wiring = request.getfixturevalue(f"{request.param}_wiring")
    return found
