"""
Write golden records that are not there yet; never change one that is.

Run it from the root of the repository after adding an example below, or after releasing a new schema version:

    python tests/unit/golden/write_new.py

Of each example two files appear in the folder of the version that is written today: ``.bin``, the record's value as
it stands in the log, and ``.json``, the event it must decode to for ever (bytes in base64).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from streamresults.events.codec import Codec
from streamresults.events.event import Event, ExceptionNode, Frame, NamedValue, Payload, Reference
from streamresults.events.schema import released_versions

HERE: Final = Path(__file__).parent
#: 2026-01-02T03:04:05.678901Z
MOMENT: Final = 1_767_323_045_678_901
JSON: Final = "application/json"


def event_id(number: int) -> bytes:
    """Return a UUIDv7 that says which example it belongs to."""
    return bytes.fromhex("019b7cbe24ce70008000") + number.to_bytes(6)


EXAMPLES: Final = {
    "task_success_minimal": Event(
        task_id="t-1", state="SUCCESS", terminal=True, event_id=event_id(1), occurred_at_us=MOMENT
    ),
    "task_success_extended": Event(
        task_id="orders/2026/ü-42",
        state="SUCCESS",
        event_id=event_id(2),
        terminal=True,
        attempt=2,
        expires_after_ms=86_400_000,
        payload=Payload(content_type=JSON, body=b'{"total":12.5}'),
        occurred_at_us=MOMENT,
        started_at_us=MOMENT - 1_500_000,
        runtime=1.5,
        parent_id="parent",
        root_id="root",
        group_id="batch-7",
        group_index=3,
        chord_size=8,
        children=("child-1", "group:batch-8"),
        trace_id="0af7651916cd43dd8448eb211c80319c",
        labels={"team": "billing", "größe": "xl"},
        name="shop.orders.total",
        worker="worker-3@host",
        queue="high",
        retries=1,
        call_content_type=JSON,
        args=b"[42]",
        kwargs=b'{"currency":"EUR"}',
        stamped_headers=("tenant",),
        stamps=b'{"tenant":"acme"}',
    ),
    "task_success_no_payload": Event(
        task_id="t-3", state="SUCCESS", terminal=True, event_id=event_id(3), occurred_at_us=MOMENT, attempt=1
    ),
    "task_success_payload_null": Event(
        task_id="t-4",
        state="SUCCESS",
        terminal=True,
        event_id=event_id(4),
        occurred_at_us=MOMENT,
        payload=Payload(content_type=JSON, body=b"null"),
    ),
    "task_success_payload_empty": Event(
        task_id="t-5",
        state="SUCCESS",
        terminal=True,
        event_id=event_id(5),
        occurred_at_us=MOMENT,
        payload=Payload(content_type="application/octet-stream", body=b""),
    ),
    "task_success_by_reference": Event(
        task_id="t-6",
        state="SUCCESS",
        terminal=True,
        event_id=event_id(6),
        occurred_at_us=MOMENT,
        payload=Payload(
            content_type=JSON,
            content_encoding="zstd",
            reference=Reference(uri="s3://results/t-6", sha256=bytes(range(32)), size=5_000_000_000),
            key_id="key-1",
        ),
    ),
    "task_failure_chain": Event(
        task_id="t-7",
        state="FAILURE",
        terminal=True,
        event_id=event_id(7),
        occurred_at_us=MOMENT,
        attempt=3,
        exception=(
            ExceptionNode(
                module="shop.errors",
                qualname="Order.Rejected",
                bases=("shop.errors:Order.Rejected", "builtins:Exception", "builtins:BaseException"),
                message="no stock",
                arguments=(NamedValue(content_type=JSON, data=b'"no stock"'),),
                attributes=(NamedValue(name="lock", content_type="text/x-python-repr", data=b"<lock at 0x1>"),),
                notes=("while ordering 42",),
                frames=(
                    Frame(file="shop/tasks.py", line=10, function="total", source="return order(42)"),
                    Frame(file="shop/orders.py", line=70_000, function="Order.place"),
                ),
                cause=1,
                context=2,
                suppress_context=True,
            ),
            ExceptionNode(
                module="builtins",
                qualname="FileNotFoundError",
                bases=("builtins:FileNotFoundError", "builtins:OSError", "builtins:Exception"),
                message="[Errno 2] No such file or directory: 'stock'",
                fields=(
                    NamedValue(name="errno", content_type=JSON, data=b"2"),
                    NamedValue(name="filename", content_type=JSON, data=b'"stock"'),
                ),
            ),
            ExceptionNode(module="builtins", qualname="ExceptionGroup", message="two", members=(1, 0), truncated=True),
        ),
        traceback="Traceback (most recent call last):\n  ...\nshop.errors.Order.Rejected: no stock\n",
    ),
    "task_retry": Event(
        task_id="t-8",
        state="RETRY",
        event_id=event_id(8),
        occurred_at_us=MOMENT,
        attempt=1,
        retries=0,
        exception=(ExceptionNode(module="builtins", qualname="TimeoutError", message="slow"),),
    ),
    "task_revoked": Event(
        task_id="t-9",
        state="REVOKED",
        terminal=True,
        event_id=event_id(9),
        occurred_at_us=MOMENT,
        exception=(ExceptionNode(module="celery.exceptions", qualname="TaskRevokedError", message="terminated"),),
    ),
    "task_started": Event(task_id="t-10", state="STARTED", event_id=event_id(10), occurred_at_us=MOMENT, attempt=1),
    "task_custom_terminal": Event(
        task_id="t-11", state="ARCHIVED", terminal=True, event_id=event_id(11), occurred_at_us=MOMENT
    ),
    "task_before_1970": Event(
        task_id="t-12", state="PROGRESS", event_id=event_id(12), occurred_at_us=-1, group_index=-(2**31), retries=-1
    ),
    "group_saved": Event(
        kind="group",
        task_id="group:batch-7",
        state="SAVED",
        terminal=True,
        event_id=event_id(13),
        occurred_at_us=MOMENT,
        children=("t-1", "t-4", "group:batch-8"),
    ),
}


def write_new(folder: Path = HERE) -> list[Path]:
    """Write the examples that the newest version has no golden record of; return the files."""
    codec, written = Codec(), []
    place = folder / f"{released_versions()[-1].number:04}"
    place.mkdir(exist_ok=True)
    for name, event in EXAMPLES.items():
        value = codec.encode(event)
        readable = msgspec.json.format(msgspec.json.encode(event), indent=2) + b"\n"
        for path, content in ((place / f"{name}.bin", value), (place / f"{name}.json", readable)):
            if not path.exists():
                with path.open("xb") as file:  # fails rather than overwrites
                    file.write(content)
                written.append(path)
    return written


if __name__ == "__main__":
    for new in write_new():
        print(new)  # noqa: T201 - a script's answer
