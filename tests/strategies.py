"""Events of every shape that the schema allows, for property tests."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from streamresults.events.event import Event, ExceptionNode, Frame, NamedValue, Payload, Reference

INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1

texts = st.text(st.characters(codec="utf-8"), max_size=12)
ints = st.integers(INT_MIN, INT_MAX)
moments = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
values = st.builds(NamedValue, name=texts, content_type=texts, data=st.binary(max_size=9))
nodes = st.builds(
    ExceptionNode,
    module=texts,
    qualname=texts,
    bases=st.lists(texts, max_size=2).map(tuple),
    message=texts,
    arguments=st.lists(values, max_size=2).map(tuple),
    attributes=st.lists(values, max_size=2).map(tuple),
    fields=st.lists(values, max_size=2).map(tuple),
    notes=st.lists(texts, max_size=2).map(tuple),
    frames=st.lists(st.builds(Frame, file=texts, line=ints, function=texts, source=texts), max_size=2).map(tuple),
    cause=ints,
    context=ints,
    suppress_context=st.booleans(),
    members=st.lists(ints, max_size=2).map(tuple),
    truncated=st.booleans(),
)
payloads = st.builds(
    Payload,
    content_type=texts,
    content_encoding=texts,
    body=st.none() | st.binary(max_size=40),
    reference=st.none()
    | st.builds(Reference, uri=texts, sha256=st.binary(max_size=32), size=st.integers(-(2**63), LONG_MAX)),
    key_id=texts,
)
events = st.builds(
    Event,
    task_id=texts,
    state=st.text(st.characters(codec="utf-8"), min_size=1, max_size=128),
    kind=st.sampled_from(("task", "group")),
    event_id=st.binary(min_size=16, max_size=16),
    terminal=st.booleans(),
    attempt=ints,
    expires_after_ms=st.integers(0, LONG_MAX),
    payload=payloads,
    exception=st.lists(nodes, max_size=2).map(tuple),
    traceback=texts,
    occurred_at_us=moments,
    started_at_us=moments,
    runtime=st.floats(allow_nan=False),
    parent_id=texts,
    root_id=texts,
    group_id=texts,
    group_index=ints,
    chord_size=ints,
    children=st.lists(texts, max_size=3).map(tuple),
    trace_id=texts,
    labels=st.dictionaries(texts, texts, max_size=3),
    name=texts,
    worker=texts,
    queue=texts,
    retries=ints,
    call_content_type=texts,
    args=st.binary(max_size=9),
    kwargs=st.binary(max_size=9),
    stamped_headers=st.lists(texts, max_size=2).map(tuple),
    stamps=st.binary(max_size=9),
)
