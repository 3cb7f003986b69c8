"""A wait goes on when its reader starts again, and is never answered from a view that is older than one seen."""

from __future__ import annotations

import pytest

from streamresults.client import waits
from streamresults.client.waiter import Phase
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

# -- resets -----------------------------------------------------------------------------------------------------------


def test_a_reader_whose_offset_is_gone_starts_again(desk: Desk) -> None:
    """Retention took what it was about to read; everybody is sent back to step 1."""
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    reader = desk.engine.reader.connection
    assert reader is not None
    desk.broker.skip_offsets("results", 0, 10)
    reader.assign({0: 99})
    reader.wake()
    eventually(lambda: desk.watch.next_offset == 10, SOON)
    desk.fold()
    desk.publish("t", "FAILURE")
    desk.fold()

    assert "FAILURE" == wait.told[0]


def test_a_reader_that_breaks_is_replaced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait goes on with the next one."""
    monkeypatch.setattr(waits, "_RETRY", 0.01)
    desk.fold()
    wait = desk.wait()
    desk.in_phase(Phase.ASLEEP)
    broken = desk.engine.reader.connection
    assert broken is not None
    broken.close()
    eventually(lambda: desk.engine.reader.connection is not broken and desk.watch.is_read, SOON)
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "FAILURE")

    assert ("FAILURE", "topic") == wait.told


def test_an_idle_partition_is_released_and_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic that nobody waits for is not read, and the next wait finds nothing amiss."""
    monkeypatch.setattr(waits, "_IDLE_AFTER", 0.05)
    desk.fold()
    for _ in range(3):
        wait = desk.wait()
        desk.in_phase(Phase.ASLEEP)
        desk.publish("t", "FAILURE")

        assert ("FAILURE", "topic") == wait.told
        eventually(lambda: not desk.watch.is_read, SOON, "the partition is released")

        desk.publish("t", None)
        desk.fold()


# -- older views ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["topic", "view"])
def test_an_older_view_is_never_answered_from(desk: Desk, via: str) -> None:
    """Below the highest watermark that was seen, an answer may be a forgotten one."""
    desk.publish("t", "FAILURE")
    desk.fold()
    partition = desk.view.partitions[0]
    older = partition.coverage, dict(partition.values)
    desk.publish("t", None)
    desk.fold()
    newer = partition.coverage, dict(partition.values)
    wait = desk.wait("other", via=via)
    desk.in_phase(Phase.ASLEEP, "other")
    partition.coverage = older[0]
    partition.values.clear()
    partition.values.update(older[1])
    late = desk.wait("t", via=via)
    desk.in_phase(Phase.UNPROVEN if via == "topic" else Phase.ASLEEP, "t")
    partition.coverage = newer[0]
    partition.values.clear()
    partition.values.update(newer[1])
    desk.publish("t", "SUCCESS")
    desk.publish("other", "SUCCESS")
    desk.fold()

    assert ["SUCCESS"] * 2 == [late.told[0], wait.told[0]]


def test_a_look_at_an_older_view_does_not_count_as_a_look(desk: Desk) -> None:
    """Once the view is whole again it is looked at anew: what the reader had passed is only there."""
    desk.fold()
    desk.wait("first")
    desk.in_phase(Phase.ASLEEP, "first")
    for number in range(3):
        desk.publish(f"x{number}", "STARTED")
    desk.fold()
    partition = desk.view.partitions[0]
    older = partition.coverage
    desk.publish("t", "FAILURE")
    desk.fold()
    newer = partition.coverage
    eventually(lambda: desk.watch.next_offset == 4, SOON)
    desk.client._watermarks.saw(0, 4)
    desk.watch.next_offset = 2  # a reader that lags behind the view
    partition.coverage = older
    value = partition.values.pop("t")
    wait = desk.wait()
    desk.in_phase(Phase.UNPROVEN)
    partition.coverage = newer
    partition.values["t"] = value
    desk.publish("more", "STARTED")
    desk.fold()

    assert ("FAILURE", "full") == wait.told
