"""
Keys share a slot where they must, are spread evenly, and never collide.

We test these aspects: the slot of every key, computed as Redis Cluster does; the spread of partitions over shards;
and ids that hold braces, colons, and anything else.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import ceil
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.store.keys import SLOTS, Keys, descriptor_key, directory_key, hash_tag, wake_channel

TOPIC_ID: Final = "dGhlLXRvcGljLWlkLTE2"
AWKWARD: Final = ("a", "{a}", "}{", "{}", "a:b", ":", "v:", "v:a", "coverage", "ü", "日本", "a}b{c", "{0.3}", " ", "\n")

ids = st.text(st.characters(codec="utf-8"), max_size=12) | st.text("{}:vdi.0", max_size=8)

things = st.tuples(st.integers(0, 5), st.sampled_from("vdi"), ids)


def crc16(data: bytes) -> int:
    """Compute CRC-16/XMODEM bit by bit, as the Redis Cluster specification defines it."""
    found = 0
    for byte in data:
        found ^= byte << 8
        for _ in range(8):
            found = (found << 1) ^ (0x1021 if found & 0x8000 else 0)
        found &= 0xFFFF
    return found


def slot(key: str) -> int:
    """Return the slot of a key by the Cluster specification: the first non-empty braces count, else the whole key."""
    data = key.encode()
    begin = data.find(b"{")
    end = data.find(b"}", begin + 1)
    hashed = data[begin + 1 : end] if begin >= 0 and end > begin + 1 else data
    return crc16(hashed) % SLOTS


def wanted(partition: int) -> int:
    """Return the slot that "The view" in docs/architecture.md names: the nearest to frac(0.618034 p) x 16384."""
    return round(partition * 0.618034 % 1 * SLOTS) % SLOTS


def test_the_checksum_is_the_specification_s() -> None:
    """CRC-16/XMODEM of 123456789 is 0x31C3."""
    assert crc16(b"123456789") == 0x31C3


@pytest.mark.parametrize("partition", [*range(130), 999, 4096])
def test_every_partition_has_the_slot_that_is_its_own(partition: int) -> None:
    """The tag's slot is exact, so it can be computed anywhere, and the tag begins with the partition."""
    assert wanted(partition) == slot(f"{{{hash_tag(partition)}}}")
    assert hash_tag(partition).startswith(f"{partition}.")


@given(st.integers(0, 200), ids)
def test_all_keys_of_a_partition_share_its_slot(partition: int, task_id: str) -> None:
    """A batch, its coverage, its marks and its interests are one script on a Cluster too, whatever ids hold."""
    keys = Keys("streamresults", TOPIC_ID)
    prefixes = (keys.value_prefix(partition), keys.mark_prefix(partition), keys.interest_prefix(partition))
    found = [prefix + task_id for prefix in prefixes]
    found += [keys.coverage(partition), keys.interested(partition), keys.marked(partition)]

    assert {wanted(partition)} == {slot(key) for key in found}


@pytest.mark.parametrize(("partitions", "shards"), list(product((1, 3, 12, 64, 100), (1, 2, 3, 6, 12))))
def test_no_shard_holds_more_than_its_share_and_one(partitions: int, shards: int) -> None:
    """With slots dealt out evenly, as redis-cli does, no shard has more than ceil(P/S) + 1 partitions."""
    size = SLOTS / shards
    ranges = [range(round(index * size), round((index + 1) * size)) for index in range(shards)]
    held = Counter(next(i for i, own in enumerate(ranges) if wanted(p) in own) for p in range(partitions))

    assert max(held.values()) <= ceil(partitions / shards) + 1


def test_tags_do_not_depend_on_the_number_of_partitions() -> None:
    """Adding partitions moves nothing: a tag is a function of its partition, and no two are equal."""
    tags = [hash_tag(partition) for partition in range(200)]

    assert len(tags) == len(set(tags))
    assert tags == [hash_tag(partition) for partition in range(200)]


def test_distinct_things_never_share_a_key() -> None:
    """Values, marks and interests of awkward ids, and a partition's own keys, are all different."""
    found: list[str] = []
    for namespace, topic_id in product(("a", "b", "a:1", "{a}"), (TOPIC_ID, TOPIC_ID[::-1])):
        keys = Keys(namespace, topic_id)
        found += [key for p in range(3) for key in (keys.coverage(p), keys.interested(p), keys.marked(p))]
        for partition, task_id in product(range(3), AWKWARD):
            of = (keys.value_prefix(partition), keys.mark_prefix(partition), keys.interest_prefix(partition))
            found += [prefix + task_id for prefix in of]
    found += [descriptor_key(namespace, topic) for namespace in ("a", "b", "a:1") for topic in ("results", "results.2")]
    found += [directory_key(topic) for topic in ("results", "results.2")]

    assert len(found) == len(set(found))


@given(things, things)
def test_two_keys_are_equal_only_for_the_same_thing(one: tuple[int, str, str], two: tuple[int, str, str]) -> None:
    """Partition, kind of key and task id can be told from the key."""
    assert (one == two) == (key_of(*one) == key_of(*two))


def test_the_format_and_the_topic_s_id_are_part_of_every_key() -> None:
    """A topic that was made again, or another format, is another view."""
    keys = Keys("ns", TOPIC_ID)

    assert all(key.startswith(f"ns:1:{TOPIC_ID}:{{0.") for key in (keys.coverage(0), keys.value_prefix(0)))


def test_a_channel_belongs_to_one_process_of_one_namespace() -> None:
    """Two namespaces on one server do not wake each other."""
    found = {wake_channel(namespace, process) for namespace in ("a", "b") for process in ("1", "2")}

    assert len(found) == 4


def key_of(partition: int, kind: str, task_id: str) -> str:
    """Return the key of a value, a dead-letter mark or an interest."""
    keys = Keys("ns", TOPIC_ID)
    prefix = {"v": keys.value_prefix, "d": keys.mark_prefix, "i": keys.interest_prefix}[kind]
    return prefix(partition) + task_id
