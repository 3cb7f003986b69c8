"""What an exception costs: on its way into a record, out of it, and when it is raised where somebody waits."""

from __future__ import annotations

import time
import traceback
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import fastavro
import tblib

from benchmarks.measure import Pairs, alternately
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.events.exceptions import capture
from streamresults.events.payloads import default_registry
from streamresults.events.remote_frames import Raisable
from streamresults.events.revive import revive
from streamresults.events.schema import released_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.measure import Row

NAMES: Final = ("exception_capture", "exception_revive", "exception_raise")
#: Frames of the exception that all rows are about.
_FRAMES: Final = 10
_ROUNDS: Final = 41
#: Calls of a turn: some ten milliseconds, so that what else the machine does falls on both.
_CALLS: Final = 50
_HEADER: Final = 10

_CODEC: Final = Codec()
_REGISTRY: Final = default_registry()
_JSON: Final = _REGISTRY.by_name("json")
_ALLOWLIST: Final = ExceptionAllowlist()


def rows(_bench: Bench | None, wanted: set[str]) -> Iterator[Row]:
    """Measure the rows; none of them needs a service."""
    exc = _raised()
    nodes, text = capture(exc, _JSON)
    value = _record(exc)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "exception_capture": (lambda: _record(exc), lambda: traceback.format_exception(exc)),
        "exception_revive": (lambda: _revived(value), _bare_decode(value)),
        "exception_raise": (lambda: Raisable(_revived(value), nodes).exception, _bare_raise(value, exc)),
    }
    for name, (ours, reference) in pairs.items():
        if name in wanted:
            found = alternately(_ROUNDS, _rate(ours), _rate(reference))
            yield Pairs(*found).row(name, "1/s", f"{_FRAMES} frames, {len(value)} bytes, {len(text)} of them as text")


def _rate(call: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        for _ in range(_CALLS):
            call()
        return _CALLS / (time.perf_counter() - began)

    return measure


def _raised() -> BaseException:
    try:
        _down(_FRAMES - 2)
    except ValueError as exc:
        return exc
    raise AssertionError


def _down(left: int) -> None:
    """Call one another in turn: Python prints frames of one place once, with a count."""
    if left:
        _further_down(left - 1)
    msg = "the card was declined"
    raise ValueError(msg, 402, {"card": "4242"})


def _further_down(left: int) -> None:
    _down(left - 1)


def _record(exc: BaseException) -> bytes:
    nodes, text = capture(exc, _JSON)
    return _CODEC.encode(Event(task_id="order-7", state="FAILURE", exception=nodes, traceback=text))


def _revived(value: bytes) -> BaseException:
    event = _CODEC.decode(value)
    return revive(event.exception, event.traceback, _ALLOWLIST, _REGISTRY)


def _bare_decode(value: bytes) -> Callable[[], object]:
    schema: Any = fastavro.parse_schema(released_versions()[-1].definition, named_schemas={})
    read = fastavro.schemaless_reader
    body = value[_HEADER:]
    return lambda: read(BytesIO(body), schema, None)


def _bare_raise(value: bytes, exc: BaseException) -> Callable[[], object]:
    decode = _bare_decode(value)
    recorded = _plain(tblib.Traceback(exc.__traceback__))

    def call() -> None:
        decode()
        recorded.as_traceback()

    return call


def _plain(trace: Any) -> Any:
    """Return tblib's own traceback; its frames as they are after a journey, without the live ones."""
    step = trace
    while step is not None:
        code = step.tb_frame.f_code
        step.tb_frame = SimpleNamespace(
            f_code=SimpleNamespace(co_filename=code.co_filename, co_name=code.co_name),
            f_globals={"__name__": "remote"},
            f_locals={},
        )
        step = step.tb_next
    return trace
