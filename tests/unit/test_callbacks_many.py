"""Registrations by the thousand are looked at and assigned together, and each holds little."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.client.waiter import Phase, Waiter
from streamresults.client.waits import Waits
from streamresults.deadline import Deadline
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics
from tests.unit.callback_desk import nothing
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults import Client

#: Registrations at once, where they must be looked at together.
MANY = 5_000
PARTITIONS = 12


class Asked:
    """Counts what view, brokers and reader are asked for."""

    def __init__(self, client: Client) -> None:
        place = client._whereabouts.find(Deadline(SOON))
        engine = client._running_engine(place, "")
        view, reader, inspector = place.view, engine.reader, engine.assigner.inspector
        assert view is not None
        assert inspector is not None
        #: How many tasks each look was for.
        self.looks: list[int] = []
        self.questions = self.assigns = 0
        self.waits = engine.waits
        look, read_from = view.look, reader.read_from
        ends, offsets_at = inspector.ends, inspector.offsets_at

        def counted_look(wanted: Any, interest: Any = None) -> Any:
            self.looks.append(sum(map(len, wanted.values())))
            return look(wanted, interest)

        def counted_read(offsets: Any) -> None:
            self.assigns += 1
            read_from(offsets)

        def counted_ends(partitions: Any, deadline: Any) -> Any:
            self.questions += 1
            return ends(partitions, deadline)

        def counted_offsets(partitions: Any, moment: Any, deadline: Any) -> Any:
            self.questions += 1
            return offsets_at(partitions, moment, deadline)

        view.look = counted_look  # type: ignore[method-assign]
        reader.read_from = counted_read  # type: ignore[method-assign]
        inspector.ends = counted_ends  # type: ignore[method-assign]
        inspector.offsets_at = counted_offsets  # type: ignore[method-assign, assignment]

    def register(self, client: Client, via: Any) -> None:
        """Register many, before anybody can look at the first."""
        with self.waits.lock:
            for number in range(MANY):
                client.on_result(f"t{number}", nothing, via=via)


@pytest.mark.parametrize("via", ["topic", "view"])
def test_many_registrations_are_looked_at_together(desk: Desk, via: Any) -> None:
    """Those that arrive while nobody can look are one plain look and one look; not one of each."""
    desk.fold()
    asked = Asked(desk.client)
    asked.register(desk.client, via)
    eventually(lambda: all(w.phase is Phase.ASLEEP for w in desk.everybody()), SOON)

    assert MANY == max(asked.looks)
    assert len([look for look in asked.looks if look]) <= 2
    assert [int(via == "topic")] * 2 == [asked.questions, asked.assigns]


def test_the_partitions_of_many_registrations_are_assigned_together() -> None:
    """One question to the brokers and one assignment for all of them."""
    with Wiring(Settings(), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        create_topics(wiring, PARTITIONS)
        with wiring.client() as client:
            asked = Asked(client)
            asked.register(client, "topic")
            watches = asked.waits.watches
            eventually(lambda: all(watch.is_read for watch in watches.values()), SOON)

            assert PARTITIONS == len(watches)
            assert [1, 1] == [asked.questions, asked.assigns]


def _enter(waits: Waits, count: int) -> None:
    for number in range(count):
        waits.enter(Waiter(f"t{number}", 0, _told_nobody, through_topic=False))


def _told_nobody() -> None:
    pass


def test_a_burst_rings_once_and_is_gathered() -> None:
    """A wait that comes alone is looked at at once; of a burst the first is, and the rest share the next looks."""
    waits, rings = Waits(), []
    with waits.lock:
        waits.lock.notify_all = lambda: rings.append(1)  # type: ignore[method-assign]
        _enter(waits, 1)
        alone = waits.until_due()
        _enter(waits, MANY)
        burst, after = waits.until_due(), waits.until_due()

    assert (1, 0.0, 0.0) == (len(rings), alone, after)
    assert burst is not None
    assert 0 < burst <= 0.02


def test_registering_beside_many_does_not_look_at_them(desk: Desk) -> None:
    """Each costs the same however many wait, also while no broker answers and nothing can be assigned."""
    desk.fold()
    desk.engine.waits.watches.clear()
    desk.client.on_result("first", nothing)
    desk.in_phase(Phase.ASLEEP, "first")
    waits = desk.engine.waits
    with waits.lock:
        for number in range(MANY):
            desk.client.on_result(f"t{number}", nothing)
        watch, seen = desk.watch, 0
        watch.next_offset = -1

        def everybody() -> Any:
            nonlocal seen
            seen += 1
            return []

        watch.everybody = everybody  # type: ignore[method-assign]
        assert [watch] == waits.unread()
        del watch.everybody

    assert 0 == seen


def test_a_registration_holds_little(desk: Desk) -> None:
    """At most 1 KB of ours: a hundred thousand fit where a thread each would not."""
    desk.fold()
    desk.client.on_result("first", nothing)
    desk.in_phase(Phase.ASLEEP, "first")
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(MANY):
            desk.client.on_result(f"task-{number:031d}", nothing)
        eventually(lambda: all(w.phase is Phase.ASLEEP for w in desk.everybody()), SOON)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / MANY
    finally:
        tracemalloc.stop()

    assert each <= 1024
