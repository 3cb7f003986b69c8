"""
What a look at a view finds, in Redis and in memory alike.

We test these aspects: a view that was never written; the order of the answers, misses and repetitions; a look at the
coverage alone, at nothing, and at very many tasks; any id and any bytes; the store's time; and that a look never sees
half a batch.
"""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from streamresults.store.redis import LOOK_MAX
from streamresults.store.value import unpack
from tests.contract.store_desk import ONE, STARTED, batch, entry, look, mark, offsets, watermark

if TYPE_CHECKING:
    from streamresults.store.base import View


def test_a_view_that_was_never_written_covers_nothing(view: View) -> None:
    """Without a batch there is no coverage and no value."""
    looked = look(view, "a", "b")

    assert ([None, None], [None, None], None) == (list(looked.values), list(looked.marks), looked.coverage)


def test_values_come_in_the_order_asked_for(view: View) -> None:
    """A miss is None in its place, and a task asked for twice is answered twice."""
    view.apply([batch(0, 3, {"a": entry(0), "b": entry(1)})])

    assert [1, None, 0, 1] == offsets(view, "b", "x", "a", "b")


def test_an_empty_look_reads_the_coverage_alone(view: View) -> None:
    """No tasks, no values."""
    view.apply([batch(0, 3)])
    looked = look(view)

    assert ([], [], 3) == (list(looked.values), list(looked.marks), watermark(view))


def test_looking_at_nothing_gives_nothing(view: View) -> None:
    """No partitions, no answers."""
    assert {} == view.look({})


def test_a_look_tells_the_store_s_time(view: View) -> None:
    """Coverage is as of the batch, on the same clock, whether or not the batch was applied."""
    moments = [look(view).now_ms]
    for end in (1, 9):
        (reply,) = view.apply([batch(0, end)])
        moments += [reply.coverage.as_of_ms, look(view).now_ms]

    assert sorted(moments) == moments


@pytest.mark.parametrize("task", ["{a}", "}{", "a:b", " ", "\n", "ü", "日本", "x" * 1024, "group:g", "coverage"])
def test_any_task_id_names_its_own_value(view: View, task: str) -> None:
    """No id is mistaken for another one, or for a key of the view."""
    view.apply([batch(0, 5, {task: entry(3)}, marks={task: mark()})])
    looked = look(view, task, "other")

    assert [ONE + entry(3), None] == list(looked.values)
    assert [mark(), None] == list(looked.marks)


@pytest.mark.parametrize("value", [b"", bytes(range(256)), b"\r\n$-1\r\n", bytes(65_537), b"\xff" * 1_000_000, None])
def test_any_bytes_are_kept_verbatim(view: View, value: bytes | None) -> None:
    """Large, empty and binary values come back as they were."""
    view.apply([batch(0, 5, {"a": entry(3, STARTED, value=b"-")})])
    view.apply([batch(5, 6, {"a": entry(5, value=value)})])
    (found,) = look(view, "a").values

    assert found is not None
    best = unpack(found).summary.best
    assert best is not None
    assert value == best.value


@pytest.mark.parametrize("count", [LOOK_MAX, LOOK_MAX + 1, 2 * LOOK_MAX + 500])
def test_many_tasks_are_looked_up_in_one_call(view: View, count: int) -> None:
    """However many tasks are asked for, values and marks come in order."""
    tasks = [f"t{number}" for number in range(count)]
    view.apply([batch(0, count, {task: entry(n) for n, task in enumerate(tasks[::2])}, marks={tasks[-1]: mark(7)})])
    looked = look(view, *tasks)

    assert [n // 2 if n % 2 == 0 else None for n in range(count)] == offsets(view, *tasks)
    assert [*[None] * (count - 1), mark(7)] == list(looked.marks)


def test_a_look_never_sees_half_a_batch(view: View) -> None:
    """While batches are applied, two values of one batch and the coverage they are read with always agree."""
    view.apply([batch(0, 1, {"a": entry(0, STARTED), "b": entry(0, STARTED)})])
    enough = Event()

    def write() -> None:
        n = 1
        while not enough.is_set():
            view.apply([batch(n, n + 1, {"a": entry(n, STARTED), "b": entry(n, STARTED)})])
            n += 1

    writer = Thread(target=write)
    writer.start()
    seen = set()
    for _ in range(300):
        looked = look(view, "a", "b")
        first, second = (unpack(value).summary.last for value in looked.values if value is not None)
        assert looked.coverage is not None
        seen.add((first - second, looked.coverage.watermark - first))
    enough.set()
    writer.join()

    assert {(0, 1)} == seen
