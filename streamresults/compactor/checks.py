"""What a compactor makes sure of before it begins: that Redis keeps what it is given, and whose view it finds there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streamresults.errors import ConfigurationError
from streamresults.store.coverage import FORMAT
from streamresults.store.descriptor import other_cluster, refuse

if TYPE_CHECKING:
    from streamresults.store.base import Store
    from streamresults.topic.records import TopicDescription

_log: Final = logging.getLogger("streamresults.compactor")


def check_eviction(store: Store, *, allowed: bool) -> None:
    """
    Make sure that Redis evicts nothing, unless that is allowed; say so where it does not tell.

    Raises:
        ConfigurationError: It may evict, and that is not allowed.
    """
    policy = store.eviction_policy()
    if policy is None:
        _log.warning(
            "Redis does not say its maxmemory-policy: make sure that it is noeviction",
            extra={"action": "eviction_unknown"},
        )
    elif policy != "noeviction" and not allowed:
        msg = (
            f"Redis may evict results (maxmemory-policy {policy}), which would make a miss a lie. "
            "Run: redis-cli CONFIG SET maxmemory-policy noeviction, or set allow_eviction"
        )
        raise ConfigurationError(msg)


def check_view(store: Store, namespace: str, about: TopicDescription) -> None:
    """
    Make sure that the namespace's view is of this cluster, or of none yet.

    One of another format is said and left alone: to refuse that would keep releases from rolling out.

    Raises:
        TopicMismatch: It is that of another cluster.
    """
    known = store.read_descriptor(namespace, about.topic)
    if known is None:
        return
    refuse(other_cluster(known, namespace, about.cluster_id))
    if known.format != FORMAT:
        _log.warning(
            "namespace %s holds a view of format %d: this release keeps its own, of format %d, beside it",
            namespace,
            known.format,
            FORMAT,
            extra={"action": "other_format"},
        )
