"""Every key and channel of the view, and the group that keeps it, named in one place; no other module builds one."""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache
from typing import Final

from streamresults.store.coverage import FORMAT

SLOTS: Final = 16384
#: The golden ratio's fraction: successive multiples of it are spread evenly, however many of them are taken.
_GOLDEN: Final = 0.618034


@cache
def hash_tag(partition: int) -> str:
    """
    Return the Redis Cluster hash tag of a Kafka partition.

    Its slot is the one nearest to frac(0.618034 p) x 16384: a function of the partition alone, so that adding
    partitions moves nothing, and even over the shards for any count. Found by search: CRC-16/XMODEM is the hash that
    the Redis Cluster specification names, and ``binascii.crc_hqx`` is it.
    """
    wanted = round(partition * _GOLDEN % 1 * SLOTS) % SLOTS
    start = crc_hqx(b"%d." % partition, 0)
    for number in range(1 << 20):
        if crc_hqx(b"%x" % number, start) % SLOTS == wanted:
            return f"{partition}.{number:x}"
    msg = f"no tag for partition {partition}"  # 2**20 tries miss one of 16384 slots once in 10**27 searches
    raise AssertionError(msg)


class Keys:
    """
    The keys of one topic's view.

    All keys of one Kafka partition share a hash tag, so that a batch and its coverage are one atomic script on a
    Cluster too. The topic's id and the format are part of every key: a topic that was made again, or another format,
    is another view.
    """

    def __init__(self, namespace: str, topic_id: str) -> None:
        self._prefix: Final = f"{namespace}:{FORMAT}:{topic_id}:"
        self._tagged: Final[dict[int, str]] = {}

    def _of(self, partition: int) -> str:
        found = self._tagged.get(partition)
        if found is None:
            found = self._tagged[partition] = f"{self._prefix}{{{hash_tag(partition)}}}:"
        return found

    def coverage(self, partition: int) -> str:
        """Return the key of a partition's coverage."""
        return self._of(partition) + "coverage"

    def interested(self, partition: int) -> str:
        """Return the key that exists while anybody waits through the view, so that a fold need not look otherwise."""
        return self._of(partition) + "interested"

    def marked(self, partition: int) -> str:
        """Return the key that exists while there are dead-letter marks, so that a look need not ask otherwise."""
        return self._of(partition) + "marked"

    def value_prefix(self, partition: int) -> str:
        """Return what stands before the task id in the key of its value."""
        return self._of(partition) + "v:"

    def mark_prefix(self, partition: int) -> str:
        """Return what stands before the task id in the key of its dead-letter mark."""
        return self._of(partition) + "d:"

    def interest_prefix(self, partition: int) -> str:
        """Return what stands before the task id in the key of the processes that wait for it."""
        return self._of(partition) + "i:"


def descriptor_key(namespace: str, topic: str, view_format: int = FORMAT) -> str:
    """Return the key of the descriptor of a topic's view: all that a client must know to find the rest."""
    return f"{namespace}:{view_format}:descriptor:{topic}"


def descriptor_keys(namespace: str, topic: str, view_format: int = FORMAT) -> tuple[str, ...]:
    """
    Return the key of a format's descriptor, and then those of every older format, the newest of them first.

    Views of several formats stand side by side, each with its descriptor. A reader that finds none under its own
    format looks under the older ones; a writer leaves its own there too where nobody else has. So both learn of a view
    that they cannot read, whichever release is the newer one. The name and what it says of the format never change.
    """
    return tuple(descriptor_key(namespace, topic, one) for one in range(view_format, 0, -1))


def group_name(namespace: str, topic: str) -> str:
    """
    Return the consumer group of the compactors that keep the view.

    Two formats are two groups: in one, the compactors of each would fold only some of the partitions.
    """
    return f"{namespace}.{topic}.compactor" + ("" if FORMAT == 1 else f".{FORMAT}")


def directory_key(topic: str) -> str:
    """Return the key of the namespaces that hold a view of a topic of this name, for clients that know no more."""
    return f"streamresults:views:{topic}"


def parts_key(namespace: str, topic: str, set_id: str) -> str:
    """Return the key of a set of parts: all that belongs to it, so that every step is one script on a Cluster too."""
    return f"{namespace}:parts:{topic}:{set_id}"


def parts_alias_key(namespace: str, topic: str, alias: str) -> str:
    """Return the key of a second name of a set of parts."""
    return f"{namespace}:parts-of:{topic}:{alias}"


def parts_watch_key(namespace: str, topic: str) -> str:
    """Return the key of the sets of parts that somebody is to look at, by when."""
    return f"{namespace}:parts-due:{topic}"


def wake_channel(namespace: str, process: str) -> str:
    """Return the channel on which one process is told that a result it waits for is there."""
    return f"{namespace}:wake:{process}"
