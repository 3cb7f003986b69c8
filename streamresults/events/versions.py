"""
The schema versions that a process can read: those that it was released with, and those that somebody finds for it.

Two released schemas never share a fingerprint, so a fingerprint names one version for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec

from streamresults.errors import MalformedRecord, UnknownFingerprint
from streamresults.events.avro import parsed, reason, schema_fingerprint
from streamresults.events.bounds import walker
from streamresults.events.schema import HEAD_FIELDS, PREFIX_FIELDS, first_fields, released_versions

#: Finds the JSON of a schema by its fingerprint; ``None`` when nobody has it.
Resolve = Callable[[bytes], str | None]


class Version:
    """One schema as a reader needs it."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition
        self.fingerprint = schema_fingerprint(definition)
        self.whole = parsed(definition)
        self.head = parsed(first_fields(definition, HEAD_FIELDS))
        self.walk_whole = walker(self.whole)
        self.walk_head = walker(self.head)


@cache
def _built_in() -> tuple[Version, ...]:
    return tuple(Version(version.definition) for version in released_versions())


class Versions:
    """The versions that one codec reads. Thread-safe."""

    def __init__(self, resolve: Resolve | None) -> None:
        versions = _built_in()
        #: The one that is written.
        self.newest: Final = versions[-1]
        #: What every version begins with.
        self.prefix: Final = parsed(first_fields(self.newest.definition, PREFIX_FIELDS))
        #: By fingerprint; grows with what is found.
        self.known: Final = {version.fingerprint: version for version in versions}
        self._resolve = resolve

    def find(self, written_with: bytes) -> Version:
        """
        Look elsewhere for a version that is not known, and know it from then on.

        Raises:
            UnknownFingerprint: Nobody has it.
            MalformedRecord: What was found is no schema of that fingerprint, or of no version of the event.
            TopicUnavailable: The place to look for it cannot be reached.
        """
        text = self._resolve(written_with) if self._resolve else None
        if text is None:
            msg = (
                f"no schema has the fingerprint {written_with.hex()}: it is neither built in nor in the schemas topic. "
                "The publisher that wrote it must register it, or this process must be upgraded"
            )
            raise UnknownFingerprint(msg, fingerprint=written_with.hex())
        return self.known.setdefault(written_with, self._checked(text, written_with))

    def _checked(self, text: str, written_with: bytes) -> Version:
        try:
            version = Version(msgspec.json.decode(text, type=dict[str, Any]))
        except Exception as exc:
            msg = f"what the schemas topic holds for {written_with.hex()} is no schema: {reason(exc)}"
            raise MalformedRecord(msg) from exc
        if version.fingerprint != written_with:
            msg = f"the schemas topic holds another schema under {written_with.hex()}: {version.fingerprint.hex()}"
            raise MalformedRecord(msg)
        if schema_fingerprint(first_fields(version.definition, PREFIX_FIELDS)) != schema_fingerprint(self.prefix):
            msg = f"the schema {written_with.hex()} in the schemas topic does not begin like every version of the event"
            raise MalformedRecord(msg)
        return version
