"""Which content types a client accepts, where several places may say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.events.payloads import SerializerRegistry


def accepted(
    registry: SerializerRegistry,
    argument: Iterable[str] | None,
    result_accept_content: Iterable[str] | None,
    accept_content: Iterable[str] | None,
) -> frozenset[str] | None:
    """
    Return the accept list of the first of the three that says anything; ``None`` where none does.

    They are not merged: who narrows the list means it. An empty list says that nothing is accepted.

    Args:
        registry: Knows names (``json``) and content types (``application/json``).
        argument: What the caller of a function states.
        result_accept_content: Celery's setting for results.
        accept_content: Celery's setting for messages, which holds for results too where nothing else does.

    Raises:
        ConfigurationError: The list that decides names a serializer that is not registered.
    """
    for stated in (argument, result_accept_content, accept_content):
        if stated is not None:
            return registry.content_types(stated)
    return None
