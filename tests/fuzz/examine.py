"""What every reader does with the bytes of a record, and what may come of it. Anything else is a finding."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from streamresults.errors import PayloadError, RecordError, RemoteTaskError, SecurityError
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.codec import Codec
from streamresults.events.envelope import task_id_of
from streamresults.events.payloads import check_plain, default_registry
from streamresults.events.remote_frames import Raisable
from streamresults.events.revive import revive
from streamresults.payload_store.bodies import Unpacking
from tests.hostile.traps import LISTED, SPRUNG

if TYPE_CHECKING:
    from streamresults.events.event import Payload

CODEC: Final = Codec()
REGISTRY: Final = default_registry()
ALLOWLIST: Final = ExceptionAllowlist(LISTED)
BODIES: Final = Unpacking()

_MODULES: Final[set[str]] = set()


def begin() -> None:
    """Take what has run and is imported by now for granted."""
    SPRUNG.clear()
    _MODULES.update(sys.modules)


class Finding(Exception):
    """Something happened that no record may cause."""


def examine(value: bytes) -> bool:
    """
    Read a record in every depth, as compactor, reader and client do; tell whether its prefix could be read.

    Raises:
        Finding: Code has run, a module was imported, two ways to read disagree, or a revived exception is none.
        Exception: Whatever else came out that is not a typed error.
    """
    try:
        prefix = CODEC.decode_prefix(value)
    except RecordError:
        _must_fail(value)
        return False
    known = CODEC.is_known(value)
    _agrees(value, prefix)
    try:
        CODEC.decode_head(value)
        event = CODEC.decode(value)
    except RecordError:
        return known
    _payload(event.payload)
    _revived(event)
    return known


def _must_fail(value: bytes) -> None:
    """Make sure that what the prefix cannot be read of is refused by every other way too."""
    for read in (CODEC.decode_head, CODEC.decode):
        try:
            read(value)
        except RecordError:
            continue
        msg = f"{read.__name__} read what decode_prefix refused"
        raise Finding(msg)


def _agrees(value: bytes, prefix: Any) -> None:
    """Hold the shortcut of the fold to the prefix."""
    key = prefix.task_id.encode()
    try:
        task_id = task_id_of(key)
        found = CODEC.rank_and_expiry(task_id, key, value)
    except RecordError:
        return
    if found[1] != prefix.expires_after_ms:
        msg = f"the fold read an expiry of {found[1]}, the prefix says {prefix.expires_after_ms}"
        raise Finding(msg)


def _payload(payload: Payload) -> None:
    try:
        check_plain(payload)
        body = BODIES.body(payload)
        if body is not None:
            REGISTRY.decode(payload.content_type, body)
    except PayloadError:
        return


def _revived(event: Any) -> None:
    exc = revive(event.exception, event.traceback, ALLOWLIST, REGISTRY)
    kind = type(exc)
    if not issubclass(kind, Exception) or (kind not in ALLOWLIST and kind not in {RemoteTaskError, SecurityError}):
        msg = f"revive gave {kind!r}"
        raise Finding(msg)
    raisable = Raisable(exc, event.exception)
    _raised(raisable.exception)
    raisable.afresh()
    if SPRUNG:
        ran, SPRUNG[:] = list(SPRUNG), []
        msg = f"code ran: {ran}"
        raise Finding(msg)
    if len(sys.modules) > len(_MODULES) and (new := _foreign(set(sys.modules) - _MODULES)):
        msg = f"imported: {sorted(new)}"
        raise Finding(msg)


def _raised(exc: BaseException) -> None:
    """Raise what was revived, as a client does, and print it."""
    try:
        raise exc  # noqa: TRY301 -- as a client does
    except Exception as caught:  # noqa: BLE001 -- the same one
        "".join(traceback.TracebackException.from_exception(caught).format())


def _foreign(new: set[str]) -> set[str]:
    """Return what was imported, but for what Python imports to print a first error."""
    _MODULES.update(new)
    return {
        name for name in new if not name.startswith(("encodings", "unicodedata", "zoneinfo", "_zoneinfo", "importlib"))
    }
