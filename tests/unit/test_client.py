"""
A lookup tells what the view knows, and never what it has known longer ago than this process has seen.

We test these aspects: a view that goes back in time, by every way to ask, and seen by waits and lookups for each
other; the log that lost records, which ends the doubt; values too large for the view, within the caller's deadline;
forgetting.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamresults.client.fetching import Fetcher
from streamresults.client.waiter import Phase
from streamresults.client.watermarks import HighestWatermarks
from streamresults.deadline import Deadline
from streamresults.errors import ClientClosed, NotYetCovered, TopicUnavailable, WaitTimeout
from streamresults.events.event import Position
from streamresults.events.fold import NEVER, Best, event_summary
from streamresults.events.states import RANK_SUCCESS
from streamresults.store.memory import MemoryStore
from streamresults.store.value import pack_entry
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client
    from streamresults.store.base import View


class TimeMachine:
    """Takes the view of a desk's only partition back to an earlier moment, as a failover to a lagging replica does."""

    def __init__(self, desk: Desk) -> None:
        self._partition = desk.view.partitions[0]
        self._coverage, self._values = self._partition.coverage, dict(self._partition.values)

    def go(self) -> TimeMachine:
        """Go to the moment of this machine; return one that comes back."""
        back = object.__new__(TimeMachine)
        back._partition, back._coverage, back._values = (
            self._partition,
            self._partition.coverage,
            dict(self._partition.values),
        )
        self._partition.coverage = self._coverage
        self._partition.values.clear()
        self._partition.values.update(self._values)
        return back


@pytest.fixture
def older(desk: Desk) -> TimeMachine:
    """Give a way back to when a task had failed, which was forgotten since."""
    desk.publish("t", "FAILURE")
    desk.fold()
    machine = TimeMachine(desk)
    desk.publish("t", None)
    desk.fold()
    return machine


def _seen_by_a_lookup(desk: Desk) -> None:
    assert desk.client.lookup("t").state == "UNKNOWN"


def _seen_by_a_wait(desk: Desk) -> None:
    desk.wait("other")
    desk.in_phase(Phase.ASLEEP, "other")


def _lookup(client: Client) -> None:
    client.lookup("t")


def _lookup_of_a_miss(client: Client) -> None:
    client.lookup("never")


def _fresh(client: Client) -> None:
    client.lookup("t", fresh=True, timeout=0.05)


def _at_least(client: Client) -> None:
    client.lookup("t", at_least=Position("", 0, 0), timeout=0.05)


def _many(client: Client) -> None:
    (result,) = client.lookup_many(["t"])
    assert ("UNKNOWN", "partial") == (result.state, str(result.basis))
    result.value()


ASKING = [_lookup, _lookup_of_a_miss, _fresh, _at_least, _many]


@pytest.mark.parametrize("seen_by", [_seen_by_a_lookup, _seen_by_a_wait])
@pytest.mark.parametrize("ask", ASKING)
def test_an_older_view_answers_nobody(
    desk: Desk, older: TimeMachine, ask: Callable[[Client], None], seen_by: Callable[[Desk], None]
) -> None:
    """Whoever has seen the newer one, a wait or a lookup: what the older shows may be forgotten."""
    seen_by(desk)
    older.go()

    with pytest.raises(NotYetCovered, match=r"older one.*up to offset 1,.*up to 2|offset 1 of partition 0, not 2"):
        ask(desk.client)


def test_an_older_view_does_not_end_the_one_look_of_a_timeout_of_0(desk: Desk, older: TimeMachine) -> None:
    """It is a WaitTimeout that says why."""
    _seen_by_a_lookup(desk)
    older.go()

    with pytest.raises(WaitTimeout, match="older one"):
        desk.client.wait("t", 0)


def test_what_a_lookup_has_seen_binds_a_wait(desk: Desk, older: TimeMachine) -> None:
    """The wait goes on until the view is whole again."""
    _seen_by_a_lookup(desk)
    back = older.go()
    wait = desk.wait("t")
    desk.in_phase(Phase.UNPROVEN)
    back.go()
    desk.in_phase(Phase.ASLEEP)
    desk.publish("t", "SUCCESS")

    assert ("SUCCESS", "topic") == wait.told


def test_a_view_that_caught_up_answers_again(desk: Desk, older: TimeMachine) -> None:
    """The doubt is about the view, not about the process."""
    _seen_by_a_lookup(desk)
    back = older.go()
    with pytest.raises(NotYetCovered):
        desk.client.lookup("t")
    back.go()

    assert ("UNKNOWN", "full") == ((found := desk.client.lookup("t")).state, str(found.basis))


def test_a_fresh_lookup_waits_for_a_view_that_catches_up(desk: Desk, older: TimeMachine) -> None:
    """As it does for one that lags behind the log."""
    _seen_by_a_lookup(desk)
    back = older.go()
    timer = threading.Timer(0.1, back.go)
    timer.start()

    assert "UNKNOWN" == desk.client.lookup("t", at_least=Position("", 0, 0), timeout=SOON).state
    timer.join()


@pytest.mark.parametrize("ask", [_lookup, _fresh, _at_least, lambda client: client.lookup_many(["t"])])
def test_a_log_that_lost_records_ends_the_doubt(desk: Desk, older: TimeMachine, ask: Callable[[Client], None]) -> None:
    """Where the log ends below the highest watermark that was seen, that watermark means nothing any more."""
    _seen_by_a_lookup(desk)
    older.go()
    log = desk.broker._cluster.topics["results"].partitions[0]
    log.records.pop()
    log.high -= 1

    ask(desk.client)

    assert "FAILURE" == desk.client.lookup("t").state


def test_without_kafka_a_doubt_stays(desk: Desk, older: TimeMachine) -> None:
    """It is no error of another kind, and costs no time."""
    _seen_by_a_lookup(desk)
    older.go()
    desk.broker.fail("away")

    with pytest.raises(NotYetCovered, match="older one"):
        desk.client.lookup("t")


def test_lookups_in_doubt_do_not_ask_the_brokers_all_the_time(desk: Desk, older: TimeMachine) -> None:
    """A failover lasts a while."""
    _seen_by_a_lookup(desk)
    older.go()
    inspector, asked = cast("Any", desk.client._inspector), []
    ends = inspector.ends

    def counted(*args: Any) -> Any:
        asked.append(args)
        return ends(*args)

    inspector.ends = counted
    for _ in range(100):
        desk.client.lookup_many(["t"])

    assert 1 <= len(asked) < 10


def test_two_looks_that_arrive_in_the_other_order_are_no_older_view() -> None:
    """Each is measured by what was known when it began."""
    watermarks, view = HighestWatermarks(), MemoryStore().view("n", "t")

    class Overtaken:
        def look(self, *args: Any) -> Any:
            looked = {0: view.look(*args)[0]._replace(coverage=cast("Any", Covered(5)))}
            watermarks.saw(0, 7)
            return looked

    class Covered:
        def __init__(self, watermark: int) -> None:
            self.watermark = watermark

    overtaken = cast("View", Overtaken())

    assert [False, True] == [watermarks.look(overtaken, {0: ()})[0].is_older for _ in range(2)]


# -- values too large for the view ----------------------------------------------------------------------------------


def _fold_without_value(desk: Desk, offset: int) -> None:
    """Fold a SUCCESS of which the view holds the header alone."""
    best = Best(RANK_SUCCESS, offset, 0, NEVER, None)
    desk._apply(offset + 1, [("t", pack_entry(event_summary(best)))])


def test_a_large_value_is_fetched_from_the_log(desk: Desk) -> None:
    """By every way to ask; a timeout of 0 looks once, and has the time that one look takes."""
    _fold_without_value(desk, desk.publish("t", "SUCCESS"))
    client = desk.client
    results = [client.wait("t", SOON), client.wait("t", 0), client.lookup("t"), client.lookup("t", timeout=0)]

    assert ["SUCCESS"] * 5 == [result.state for result in [*results, *client.lookup_many(["t"])]]


@pytest.mark.parametrize(
    ("error", "ask"),
    [
        (WaitTimeout, lambda client: client.wait("t", 0.2)),
        (TopicUnavailable, lambda client: client.lookup("t", timeout=0.2)),
    ],
    ids=["wait", "lookup"],
)
def test_a_fetch_keeps_to_the_callers_deadline(
    desk: Desk, error: type[Exception], ask: Callable[[Client], Any]
) -> None:
    """A record that does not come costs no more time than the caller has, and the error says what is missing."""
    desk.publish("other", "STARTED")
    _fold_without_value(desk, 1)  # where nothing stands yet
    began = time.monotonic()
    with pytest.raises(error, match="too large for the view"):
        ask(desk.client)

    assert 0.2 <= time.monotonic() - began < 1


def _fetch_nothing(fetcher: Fetcher) -> None:
    with pytest.raises(TopicUnavailable):
        fetcher.fetch(0, 1, Deadline(0.5))


def test_a_fetch_that_waits_for_another_keeps_its_deadline(desk: Desk) -> None:
    """Fetches wait for each other, but not for ever."""
    fetcher = Fetcher(lambda: desk.broker.reader("results"))
    desk.publish("t", "SUCCESS")
    slow = threading.Thread(target=_fetch_nothing, args=(fetcher,))
    slow.start()
    eventually(fetcher._lock.locked, SOON)
    began = time.monotonic()
    with pytest.raises(TopicUnavailable):
        fetcher.fetch(0, 0, Deadline(0.05))

    assert time.monotonic() - began < 0.4

    slow.join()
    fetcher.close()


def test_a_large_value_that_retention_took_is_said_to_be_gone(desk: Desk) -> None:
    """At once: more time would not bring it back."""
    _fold_without_value(desk, desk.publish("t", "SUCCESS"))
    desk.publish("other", "STARTED")
    desk.broker.trim("results", 0, 1)

    with pytest.raises(TopicUnavailable, match="retention has taken it"):
        desk.client.wait("t", SOON)


# -- forgetting -----------------------------------------------------------------------------------------------------


def test_a_task_that_was_forgotten_is_unknown(desk: Desk) -> None:
    """The position of the tombstone is one that a lookup can wait for."""
    desk.publish("t", "SUCCESS")
    position = desk.client.forget("t")
    desk.fold()

    assert (0, 1) == position[1:]
    assert ("UNKNOWN", "full") == ((found := desk.client.lookup("t", at_least=position)).state, str(found.basis))


def test_a_closed_client_forgets_nothing(desk: Desk) -> None:
    """It says so, and opens no connection that nobody would close."""
    desk.client._whereabouts.find(Deadline(SOON))
    desk.client.close()

    with pytest.raises(ClientClosed):
        desk.client.forget("t")
