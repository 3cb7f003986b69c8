"""Whether a view that a descriptor speaks of is one that this process may read: decided here for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.errors import StoreUnavailable, TopicMismatch
from streamresults.store.coverage import FORMAT

if TYPE_CHECKING:
    from streamresults.store.base import Descriptor, Store


class Mismatch(NamedTuple):
    """Why a view is not ours, and what mends it."""

    detail: str
    mend: str


def mismatch(descriptor: Descriptor, namespace: str, cluster_id: str = "") -> Mismatch | None:
    """
    Return why a view cannot be read by this release, in this cluster; ``None`` when it can.

    Args:
        cluster_id: Of the Kafka in use; empty in a process without Kafka, which goes by what the descriptor says.
    """
    stranger = other_cluster(descriptor, namespace, cluster_id)
    if stranger is not None or descriptor.format == FORMAT:
        return stranger
    detail = (
        f"the view {namespace!r} of topic {descriptor.topic!r} has format {descriptor.format}, "
        f"this release reads format {FORMAT}"
    )
    newer = "upgrade this program, or " if descriptor.format > FORMAT else ""
    return Mismatch(detail, f"{newer}run a compactor of this release: it keeps a view of its own beside the other one")


def of_this_format(descriptor: Descriptor | None) -> Descriptor | None:
    """Return what stands under our format's name; ``None`` for nothing, and for word that another format left there."""
    return descriptor if descriptor is not None and descriptor.format == FORMAT else None


def other_cluster(descriptor: Descriptor, namespace: str, cluster_id: str) -> Mismatch | None:
    """Return why a view belongs to another Kafka cluster, whatever its format; ``None`` when it does not."""
    if not cluster_id or descriptor.cluster_id == cluster_id:
        return None
    detail = (
        f"the view {namespace!r} of topic {descriptor.topic!r} belongs to Kafka cluster {descriptor.cluster_id}, "
        f"this is {cluster_id}"
    )
    return Mismatch(detail, "set another namespace")


def refuse(found: Mismatch | None) -> None:
    """
    Raise what was found.

    Raises:
        TopicMismatch: Something was.
    """
    if found is not None:
        msg = f"{found.detail}: {found.mend}"
        raise TopicMismatch(msg)


def absent(store: Store, namespace: str, topic: str) -> StoreUnavailable:
    """
    Return the error of a view that is not there, which says where there are others: the namespace may be a wrong one.

    Raises:
        StoreUnavailable: The store did not answer.
    """
    others = store.namespaces(topic)
    if others:
        said = f"this Redis has views of that topic in {others}: is the setting namespace wrong?"
    else:
        said = "no compactor has run, or Redis was flushed. Run: streamresults compactor run"
    return StoreUnavailable(f"no view of topic {topic!r} in namespace {namespace!r}: {said}")
