"""A record's headers, whatever their names are: nothing that stands in the log may end the process that reads it."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from streamresults.topic.records import Headers, Record

#: A call from C, which looks whether an error came with the result. Python's own bytecode, once it is specialised, does
#: not look, and the error would surface in whatever is called next.
_headers: Final[Any] = methodcaller("headers")


def read_headers(record: Record) -> Headers | None:
    """
    Return a record's headers in their order, ``None`` if they cannot be read.

    Kafka lets a header's name be any bytes. Where one is no UTF-8, confluent_kafka leaves an error when it is first
    asked, and from then on returns what it had made by then: lists and tuples with holes, whose reading ends the
    process. The garbage collector counts what they hold without touching it.
    """
    try:
        headers: Headers | Mapping[str, bytes | None] | None = _headers(record)
    except Exception:  # noqa: BLE001 -- UnicodeDecodeError or SystemError; whatever it is, there are no headers then
        return None
    if headers is None:
        return []
    if isinstance(headers, Mapping):
        return list(headers.items())
    if len(gc.get_referents(headers)) < len(headers) or any(len(gc.get_referents(one)) < len(one) for one in headers):
        return None
    return headers
