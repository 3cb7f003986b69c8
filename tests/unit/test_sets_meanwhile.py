"""
Sets when something goes on meanwhile.

We test these aspects: closing, a view that is known to be silent, a group that was saved just now.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.joining import Joining
from streamresults.client.waiter import Phase
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, PublishFailed
from tests.unit.desk import SOON, Desk
from tests.unit.set_desk import Joins

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults import ResultSet


pytestmark = pytest.mark.usefixtures("folded_view")


WHOLE: dict[str, Callable[[ResultSet], object]] = {
    "first": lambda found: found.first(None),
    "any": lambda found: found.any(None),
    "first_exception": lambda found: found.first_exception(None),
    "all": lambda found: found.all(None),
    "exceptions in the list": lambda found: found.join(None, propagate=False),
    "as_completed": lambda found: list(found.as_completed(None)),
}


@pytest.mark.parametrize("wait", WHOLE.values(), ids=WHOLE)
def test_closing_is_the_end_of_a_whole_set(desk: Desk, wait: Callable[[ResultSet], object]) -> None:
    """It is not taken for the end of a task, which would be the first of them, or one of all results."""
    joins = Joins(lambda: wait(desk.client.results(["a", "b"])))
    desk.in_phase(Phase.ASLEEP, "b")
    desk.client.close()
    with pytest.raises(ClientClosed):
        joins.result()


def test_a_join_does_without_a_view_that_is_known_to_be_silent(desk: Desk) -> None:
    """Asking it again would take time that is the caller's; the waits go on without it."""
    desk.engine.waits.view_trouble = "Redis hangs"
    desk.view.look = lambda *_: pytest.fail("it was asked")  # type: ignore[method-assign]
    joining = Joining(desk.client, ["a"], "topic", Deadline(SOON))

    assert [] == joining.look()
    joining.close()


def test_a_group_that_was_just_saved_is_not_unknown(desk: Desk) -> None:
    """Before that is said, the view has folded what the log holds."""
    desk.client.group("g", ["a"]).save()
    restored = Joins(lambda: list(desk.client.restore_group("g", SOON).handles()))
    look, looked = desk.view.look, threading.Semaphore(0)

    def look_and_tell(*wanted: Any) -> Any:
        looked.release()
        return look(*wanted)

    desk.view.look = look_and_tell  # type: ignore[method-assign, assignment]
    assert looked.acquire(timeout=SOON)  # as it is asked again, it was not there at first
    desk.fold()

    assert ["a"] == restored.result()


def test_a_group_that_was_not_saved_is_no_tombstone_to_its_error(desk: Desk) -> None:
    """What failed is said by its name."""
    desk.client.group("g", ["a"]).save()
    desk.broker.fail("Kafka is away")
    with pytest.raises(PublishFailed, match=r"the record of 'group:g' in partition 0 failed"):
        desk.client.group("g", ["b"]).save(0.1)
