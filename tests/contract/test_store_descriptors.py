"""
Descriptors of views, in Redis and in memory alike.

We test these aspects: they are read as they were written, replaced, and changed by many at once without a loss; each
topic and namespace has its own; the namespaces of a topic are listed; a foreign one is named, not guessed at.
"""

from __future__ import annotations

from threading import Barrier, Thread
from typing import TYPE_CHECKING, Final

import pytest

from streamresults.errors import TopicMismatch
from streamresults.store.keys import descriptor_key
from tests.contract.store_desk import SOON, descriptor

if TYPE_CHECKING:
    from redis_server import RedisServer

    from streamresults.store.base import Store
    from streamresults.store.redis import RedisStore

#: Compactors that write a descriptor at the same time.
WRITERS: Final = 8


@pytest.mark.parametrize("evicting", [False, True])
def test_a_descriptor_is_read_as_it_was_written(store: Store, namespace: str, evicting: bool) -> None:  # noqa: FBT001 - a parameter
    """Clients learn everything from it, the order of the partition counts too."""
    one = descriptor(f"results-{namespace}", evicting=evicting)
    store.write_descriptor(namespace, one)

    assert one == store.read_descriptor(namespace, one.topic)


def test_a_descriptor_that_is_not_there_is_none(store: Store, namespace: str) -> None:
    """Another topic and another namespace have descriptors of their own."""
    store.write_descriptor(namespace, descriptor(f"results-{namespace}"))

    assert store.read_descriptor(namespace, f"other-{namespace}") is None
    assert store.read_descriptor(f"{namespace}-2", f"results-{namespace}") is None


def test_a_descriptor_may_be_replaced(store: Store, namespace: str) -> None:
    """The last one written counts, when partitions were added for example."""
    store.write_descriptor(namespace, descriptor(f"results-{namespace}"))
    newer = descriptor(f"results-{namespace}", partition_counts=(128, 64, 12))
    store.write_descriptor(namespace, newer)

    assert newer == store.read_descriptor(namespace, newer.topic)


def test_no_change_of_a_descriptor_is_lost(store: Store, namespace: str) -> None:
    """Many compactors notice new partitions at the same time; each adds what it knows to what stands."""
    topic = f"results-{namespace}"
    together = Barrier(WRITERS)

    def add(count: int) -> None:
        together.wait(SOON)
        store.change_descriptor(
            namespace,
            topic,
            lambda known: descriptor(
                topic, partition_counts=(*(() if known is None else known.partition_counts), count)
            ),
        )

    threads = [Thread(target=add, args=(count,)) for count in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    found = store.read_descriptor(namespace, topic)

    assert found is not None
    assert list(range(WRITERS)) == sorted(found.partition_counts)
    assert [namespace] == store.namespaces(topic)


def test_a_descriptor_changes_from_what_stands(store: Store, namespace: str) -> None:
    """And is returned as it was written."""
    topic = f"results-{namespace}"
    first = store.change_descriptor(namespace, topic, lambda known: descriptor(topic, evicting=known is not None))
    second = store.change_descriptor(namespace, topic, lambda known: descriptor(topic, evicting=known == first))

    assert (False, True) == (first.evicting, second.evicting)
    assert second == store.read_descriptor(namespace, topic)


def test_the_namespaces_of_a_topic_are_listed_sorted(store: Store, namespace: str) -> None:
    """A client that knows the topic alone finds its views; each is listed once."""
    for name in ("b", "a", "b"):
        store.write_descriptor(f"{namespace}-{name}", descriptor(f"results-{namespace}"))

    assert [f"{namespace}-a", f"{namespace}-b"] == store.namespaces(f"results-{namespace}")
    assert [] == store.namespaces(f"other-{namespace}")


@pytest.mark.redis
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"cluster_id": 5}'])
def test_a_foreign_descriptor_is_a_mismatch(server: RedisServer, own: RedisStore, text: str) -> None:
    """What somebody else wrote to the key is named, not guessed at."""
    server.execute("SET", descriptor_key("ns", "results"), text)
    with pytest.raises(TopicMismatch, match="ns:1:descriptor:results"):
        own.read_descriptor("ns", "results")
