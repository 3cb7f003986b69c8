"""
A result is a value: it says what one look has shown, and cannot be changed.

We test these aspects: where it comes from cannot be assigned; whether a task has ended is known without its bytes, as
the fold has decided it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.client.provenance import Basis, Provenance
from streamresults.client.result import Result
from streamresults.errors import StreamResultsError
from streamresults.events.event import Position
from streamresults.events.fold import NEVER, Best
from streamresults.events.states import RANK_READY, RANK_SUCCESS, RANK_UNREADY

if TYPE_CHECKING:
    from tests.unit.desk import Desk


@pytest.mark.parametrize("name", ["basis", "as_of", "uncovered", "position", "appended_ms", "state", "ready", "result"])
def test_what_it_says_cannot_be_assigned(desk: Desk, name: str) -> None:
    """Not by accident: whoever shares it relies on it."""
    desk.publish("t", "SUCCESS")
    desk.fold()
    found = desk.client.lookup("t")

    with pytest.raises(AttributeError):
        setattr(found, name, None)


@pytest.mark.parametrize(("rank", "ready"), [(RANK_UNREADY, False), (RANK_READY, True), (RANK_SUCCESS, True)])
def test_whether_a_task_has_ended_needs_no_bytes(desk: Desk, rank: int, ready: bool) -> None:  # noqa: FBT001 -- a case
    """The fold has decided it; what the bytes say else is an error of who asks for it."""
    provenance = Provenance(desk.wiring.decoding(), Basis.FULL, "topic", 3)
    found = Result("t", provenance, Best(rank, 41, 7, NEVER, b"broken"))

    assert (ready, ready and rank == RANK_SUCCESS) == (found.ready, found.successful)
    assert (Position("topic", 3, 41), 7) == (found.position, found.appended_ms)
    with pytest.raises(StreamResultsError):
        found.value()
