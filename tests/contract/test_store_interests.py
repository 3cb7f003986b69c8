"""
Who is told of a result, by Redis and by the store in memory alike.

We test these aspects: whoever left an interest is told once, and nobody else; only of what is ready and in the view,
marks among it; what is ready already leaves none; interests outlive a generation, end in time and can be prolonged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamresults.events.fold import NEVER, NONE, Best, Summary, tombstone_summary
from streamresults.store.base import Interest
from streamresults.store.redis import LOOK_MAX
from streamresults.store.value import pack_entry
from tests.contract.store_desk import FAILURE, STARTED, TWO, batch, entry, heard, look, mark, pass_until

if TYPE_CHECKING:
    from streamresults.store.base import View
    from tests.contract.store_desk import Listen


def test_whoever_left_an_interest_is_told_once(view: View, namespace: str, listen: Listen) -> None:
    """The task id arrives once on the channel of who asked, and on no other; a second result tells nobody."""
    asked, other = listen("asked"), listen("other")
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0), "z": entry(0)})])
    view.apply([batch(1, 2, {"a": entry(1)})])

    assert ["a"] == heard(asked, 1)
    assert [] == heard(other, 0)


def test_nobody_is_told_of_what_is_not_ready(view: View, namespace: str, listen: Listen) -> None:
    """A start, a retry and a tombstone leave the interest as it is; the result tells."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0, STARTED)})])
    view.apply([batch(1, 2, {"a": pack_entry(tombstone_summary(1, NEVER))})])

    assert [] == heard(asked, 0)

    view.apply([batch(2, 3, {"a": entry(2, FAILURE)})])

    assert ["a"] == heard(asked, 1)


def test_a_batch_that_is_not_applied_tells_nobody(view: View, namespace: str, listen: Listen) -> None:
    """Only what is in the view is announced."""
    asked = listen("asked")
    view.apply([batch(0, 5)])
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(6, 7, {"a": entry(6)}, marks={"b": mark()})])

    assert [] == heard(asked, 0)


def test_everybody_who_left_an_interest_is_told(view: View, namespace: str, listen: Listen) -> None:
    """Two processes wait for one task, and one of them for another."""
    first, second = listen("1"), listen("2")
    view.look({0: ["a"]}, Interest(f"{namespace}:1", 60))
    view.look({0: ["a", "ü"]}, Interest(f"{namespace}:2", 60))
    view.apply([batch(0, 1, {"a": entry(0), "ü": entry(0)})])

    assert ["a"] == heard(first, 1)
    assert ["a", "ü"] == heard(second, 2)


def test_an_interest_belongs_to_its_partition(view: View, namespace: str, listen: Listen) -> None:
    """A task of the same id in another partition tells nobody."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {"a": entry(0)}, partition=1)])

    assert [] == heard(asked, 0)


def test_a_mark_tells_too(view: View, namespace: str, listen: Listen) -> None:
    """A wait must not go on for a result that could not be read."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, marks={"a": mark()})])

    assert ["a"] == heard(asked, 1)


def test_what_is_ready_already_leaves_no_interest(view: View, namespace: str, listen: Listen) -> None:
    """Whoever has the result in hand is not told of it again."""
    asked = listen("asked")
    view.apply([batch(0, 1, {"a": entry(0, FAILURE), "b": entry(0, STARTED)})])
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(1, 2, {"a": entry(1), "b": entry(1)})])

    assert ["b"] == heard(asked, 1)


def test_a_ready_value_of_another_generation_leaves_an_interest(view: View, namespace: str, listen: Listen) -> None:
    """What counts as absent is waited for."""
    asked = listen("asked")
    view.apply([batch(0, 1, {"a": entry(0)})])
    view.apply([batch(20, 21, least=10, generation=TWO)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(21, 22, {"a": entry(21)})])

    assert ["a"] == heard(asked, 1)


def test_a_ready_value_that_has_expired_leaves_an_interest(view: View, namespace: str, listen: Listen) -> None:
    """Readers hide what has expired, so they wait for what comes next."""
    asked = listen("asked")
    hidden = Summary(NONE, Best(FAILURE, 0, 1, 1, b"v"), 0, 0, NEVER)
    view.apply([batch(0, 1, {"a": pack_entry(hidden)})])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(1, 2, {"a": entry(1)})])

    assert ["a"] == heard(asked, 1)


def test_an_interest_survives_a_new_generation(view: View, namespace: str, listen: Listen) -> None:
    """Whoever waits goes on waiting when the view begins afresh."""
    asked = listen("asked")
    view.apply([batch(0, 1)])
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(20, 21, {"a": entry(20)}, least=10, generation=TWO)])

    assert ["a"] == heard(asked, 1)


def test_an_interest_expires(view: View, namespace: str, listen: Listen) -> None:
    """A process that died is not told for ever."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 0.05))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0)})])

    assert [] == heard(asked, 0)


def test_a_shorter_interest_does_not_shorten_another_one(view: View, namespace: str, listen: Listen) -> None:
    """Each process is told for as long as it asked, whoever asks after it."""
    patient = listen("patient")
    view.look({0: ["a"]}, Interest(f"{namespace}:patient", 60))
    view.look({0: ["a", "b"]}, Interest(f"{namespace}:hasty", 0.05))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0), "b": entry(0)})])

    assert ["a"] == heard(patient, 1)


def test_an_interest_left_again_lives_longer(view: View, namespace: str, listen: Listen) -> None:
    """Looking again prolongs it, and does not double it."""
    asked = listen("asked")
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 0.05))
    view.look({0: ["a"]}, Interest(f"{namespace}:asked", 60))
    pass_until(view, look(view).now_ms + 50)
    view.apply([batch(0, 1, {"a": entry(0)})])

    assert ["a"] == heard(asked, 1)


def test_an_interest_in_many_tasks_is_told_of_each(view: View, namespace: str, listen: Listen) -> None:
    """More tasks than one script takes are all remembered."""
    asked = listen("asked")
    tasks = [f"t{number}" for number in range(LOOK_MAX + 200)]
    view.look({0: tasks}, Interest(f"{namespace}:asked", 60))
    view.apply([batch(0, 1, {task: entry(0) for task in tasks})])

    assert sorted(tasks) == heard(asked, len(tasks))
