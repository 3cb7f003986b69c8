"""Groups that are saved: Celery's own tuples as the payload of a record whose members every reader of the log knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.result import result_from_tuple

from streamresults.celery.encoding import decode, encode
from streamresults.celery.kin import leaves
from streamresults.events import states
from streamresults.events.event import GROUP_PREFIX, Event

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamresults.celery.fallback import Fallback
    from streamresults.celery.process import Connections
    from streamresults.client import Result

#: Seconds until it is settled that no such group is saved. Shorter takes a slow view for none.
_SETTLED: Final = 10.0


class Groups:
    """Saving, restoring and deleting groups, as ``Backend`` calls them."""

    app: Any
    serializer: str
    accept: Collection[str] | None
    expires: float | None
    connections: Connections
    _fallback: Fallback | None

    def _save_group(self, group_id: str, result: Any) -> Any:
        """Save a group; returns once the brokers hold it."""
        milliseconds = int((self.expires or 0) * 1000)
        self.connections.publish(
            group_event(str(group_id), result.as_tuple(), self.serializer, milliseconds), final=True
        )
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        """
        Return what was saved, with result objects of this application; ``None`` where nothing is.

        Raises:
            NotYetCovered: Nothing was found, in a view that does not cover the whole log.
        """
        key = GROUP_PREFIX + str(group_id)
        (found,) = self.connections.client.lookup_many([key])
        own = self.connections.newest(found)
        if own is None:
            content_type, body = self._saved(found)
            if body is None and self._fallback is not None:
                return self._fallback.group_meta(str(group_id))
        elif own.event is None:
            return None
        else:
            content_type, body = own.event.payload.content_type, own.event.payload.body
        if body is None:
            return None
        meta = decode(content_type, body, self.accept)
        if not isinstance(meta, dict) or "result" not in meta:
            return None
        return {**meta, "result": result_from_tuple(meta["result"], self.app)}

    def _saved(self, found: Result) -> tuple[str, bytes | None]:
        if not found.found:
            # Another process may have saved it a moment ago: that there is none has to be true.
            found = self.connections.client.lookup(found.task_id, fresh=True, timeout=_SETTLED)
        return found.encoded() if found.found else ("", None)

    def _delete_group(self, group_id: str) -> None:
        """Write the group's tombstone; its tasks stay."""
        self.connections.forget(GROUP_PREFIX + str(group_id))
        if self._fallback is not None:
            self._fallback.delete_group(str(group_id))


def group_event(group_id: str, nested: Any, serializer: str, expires_after_ms: int, **fields: Any) -> Event:
    """Return what saves a group, of Celery's tuple of it."""
    return Event(
        kind="group",
        task_id=GROUP_PREFIX + group_id,
        state=states.SAVED,
        terminal=True,
        group_id=group_id,
        children=tuple(dict.fromkeys(leaves(nested))),
        payload=encode({"result": nested}, serializer),
        expires_after_ms=expires_after_ms,
        **fields,
    )
