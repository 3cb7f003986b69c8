"""
A view of another format is never misread: not by these sources, and not by the kept release.

We test these aspects: what every reader says where there is such a view alone, with both formats and what to do; that
a compactor begins the view of its own format beside it, and that everybody reads on from there; and how descriptors of
several formats stand side by side, whichever of them is written first.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis

from streamresults.deadline import Deadline
from streamresults.errors import TopicMismatch
from streamresults.store.base import Descriptor
from streamresults.store.coverage import FORMAT
from streamresults.store.keys import Keys, descriptor_key, descriptor_keys
from tests.acceptance.conftest import PATIENCE, logged
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.topic.records import TopicDescription
    from streamresults.wiring import Wiring
    from tests.upgrade.conftest import Release

OTHER = FORMAT + 1
BOTH = rf"format {OTHER}.*reads (format )?{FORMAT}\b"

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(120)]


def about(wiring: Wiring) -> TopicDescription:
    """Return what the brokers say of the topic."""
    inspector = wiring.inspector()
    try:
        return inspector.describe(Deadline(PATIENCE))
    finally:
        inspector.close()


def described(wiring: Wiring, **fields: Any) -> Descriptor:
    """Return the descriptor of this topic's view, but for some fields."""
    topic = about(wiring)
    given: dict[str, Any] = {
        "cluster_id": topic.cluster_id,
        "topic": topic.topic,
        "topic_id": topic.topic_id,
        "partition_counts": (topic.partitions,),
        "format": FORMAT,
    }
    return Descriptor(**given | fields)


def plant(wiring: Wiring) -> None:
    """Leave word of a view of the other format, as its compactor does."""
    store = wiring.store()
    store.write_descriptor(wiring.namespace(about(wiring)), described(wiring, format=OTHER))
    store.close()


def compact(wiring: Wiring) -> None:
    """Fold what there is."""
    wiring.compactor(from_earliest=True).run_once(threading.Event(), PATIENCE)


@pytest.fixture
def published(wiring: Wiring) -> Wiring:
    """Give a topic that holds one result, and word of a view in the other format alone; in memory and for real."""
    with wiring.publisher() as publisher:
        publisher.succeeded("t", 7)
    plant(wiring)
    return wiring


def test_readers_name_both_formats_and_what_to_do(published: Wiring) -> None:
    """Look-ups, waits and verification; nobody waits for a view that cannot come, or takes a miss for an answer."""
    with published.client() as client, published.replay() as replay:
        for read in (
            lambda: client.lookup("t"),
            lambda: client.lookup("t", fresh=True),
            lambda: client.lookup_many(["t"]),
            lambda: client.wait("t", 20),
            lambda: client.wait("t", 20, via="topic"),
            lambda: client.wait("t", 20, via="view"),
            replay.verify,
        ):
            with pytest.raises(
                TopicMismatch, match=f"{BOTH}: upgrade this program, or run a compactor of this release"
            ):
                read()


def test_a_compactor_begins_its_own_view_beside_it(published: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """It says so, and the same client reads on from there."""
    with published.client() as client, caplog.at_level(logging.WARNING):
        with pytest.raises(TopicMismatch):
            client.lookup("t")
        compact(published)
        found = client.lookup("t")

    assert ("SUCCESS", 7) == (found.state, found.value())
    assert f"a view of format {OTHER}: this release keeps its own, of format {FORMAT}" in caplog.text
    with published.replay() as replay:
        replay.verify().raise_if_unclean()


def test_a_view_of_the_other_format_hides_nothing_of_ours(wiring: Wiring) -> None:
    """Where both stand, each release reads its own, whichever was written last."""
    with wiring.publisher() as publisher:
        publisher.succeeded("t", 7)
    compact(wiring)
    plant(wiring)

    with wiring.client() as client:
        assert 7 == client.lookup("t").value()


def test_what_the_other_format_says_is_not_carried_over(wiring: Wiring) -> None:
    """Word that stands under our name is replaced, not changed: nothing of it is about our view."""
    namespace, seen = wiring.namespace(about(wiring)), []

    def change(known: Descriptor | None) -> Descriptor:
        seen.append(known)
        return described(wiring)

    plant(wiring)
    store = wiring.store()
    store.change_descriptor(namespace, about(wiring).topic, change)
    store.change_descriptor(namespace, about(wiring).topic, change)

    assert [None, described(wiring)] == seen
    assert described(wiring) == store.read_descriptor(namespace, about(wiring).topic)
    store.close()


def test_the_clusters_are_compared_whatever_the_format(wiring: Wiring) -> None:
    """A view of another cluster stops a compactor too, as one namespace would hold results of both."""
    topic, store = about(wiring), wiring.store()
    store.write_descriptor(wiring.namespace(topic), described(wiring, format=OTHER, cluster_id="elsewhere"))
    store.close()

    with pytest.raises(TopicMismatch, match="belongs to Kafka cluster elsewhere"):
        compact(wiring)


def test_descriptors_are_looked_for_from_the_newest_format_down() -> None:
    """A newer release learns of an older one's view as the older one learns of its."""
    assert ("ns:3:descriptor:t", "ns:2:descriptor:t", "ns:1:descriptor:t") == descriptor_keys("ns", "t", 3)
    assert descriptor_keys("ns", "t", OTHER)[1:] == descriptor_keys("ns", "t")


# -- the command line of both releases --------------------------------------------------------------------------------


@pytest.fixture
def other_format(current: Release) -> Wiring:
    """Give a topic whose complete view is of the other format in every key; no byte of it may be shown."""
    wiring = current.cli.wiring
    with wiring.publisher() as publisher:
        publisher.succeeded("t", 7)
        publisher.succeeded("u", 8)
    current.compact()
    topic = about(wiring)
    namespace = wiring.namespace(topic)
    prefix = Keys(namespace, topic.topic_id)._prefix
    with redis.Redis.from_url(wiring.settings.redis_url, decode_responses=True) as server:
        keys = list(server.scan_iter(f"{namespace}:*", count=1000))
        moved = [key for key in keys if key.startswith(prefix)]
        assert len(moved) > 3
        for key in moved:
            server.rename(key, key.replace(f"{namespace}:{FORMAT}:", f"{namespace}:{OTHER}:", 1))
        server.delete(descriptor_key(namespace, topic.topic))
    plant(wiring)
    return wiring


@pytest.mark.parametrize("name", ["previous", "current"])
def test_both_releases_refuse_a_view_of_another_format(
    releases: dict[str, Release], other_format: Wiring, name: str
) -> None:
    """One line with both formats from everything that would read it; then a compactor makes the view of its format."""
    release = releases[name]
    blind = release.configured(kafka_bootstrap="")  # only the descriptor can tell it what there is

    refused = [blind.cli("get", "t"), blind.cli("wait", "t", "--via", "view"), release.cli("replay", "--verify", "-q")]
    examined = release.cli("doctor", "-o", "jsonl")
    with release.cli.started("compactor", "run", "--from", "earliest") as compactor:
        logged(compactor, "partitions assigned")
        eventually(lambda: blind.cli("get", "t").code == 0, PATIENCE, "the view of this release holds the task")
        compactor.terminate()
        assert 0 == compactor.wait(PATIENCE)

    for ran in refused:
        line = ran.failed_in_one_line(2)
        assert f"format {OTHER}" in line
        assert f"reads {FORMAT}" in line or f"format {FORMAT}" in line
    (view,) = (row for row in examined.rows if row["check"] == "view")
    assert (2, "fail") == (examined.code, view["verdict"])
    assert f"format {OTHER}" in view["detail"]
    assert view["mend"]
    release.verify()
    settings = other_format.settings
    with redis.Redis.from_url(settings.redis_url) as server:
        theirs = server.get(descriptor_key(settings.namespace, settings.topic, OTHER))
    assert isinstance(theirs, bytes)
    assert OTHER == msgspec.json.decode(theirs)["format"]


def test_the_kept_release_and_these_sources_share_one_view(previous: Release, current: Release) -> None:
    """The format is the same, and so is every key: an upgrade fills nothing again."""
    current.cli("publish", "t", "--result", "7")
    previous.compact()
    wiring = current.cli.wiring
    with redis.Redis.from_url(wiring.settings.redis_url) as server:
        stored = server.get(descriptor_key(wiring.settings.namespace, wiring.settings.topic))
    begun = _generations(current)
    current.compact()

    assert isinstance(stored, bytes)
    assert described(wiring) == msgspec.json.decode(stored, type=Descriptor)
    assert begun == _generations(current)


def _generations(release: Release) -> list[bytes]:
    """Return the generation of every partition's view."""
    wiring = release.cli.wiring
    topic, store = about(wiring), wiring.store()
    looked = store.view(wiring.settings.namespace, topic.topic_id).look(dict.fromkeys(range(topic.partitions), ()))
    store.close()
    return [found.coverage.generation for found in looked.values() if found.coverage is not None]
