"""
One thread polls at a time, and no record is lost between two of them.

We test these aspects: who gets the turn and who does not; giving it back, whenever that comes; errors and interruptions
of whoever polls, and of the owner; and waits of a client whose only waiting thread polls, whatever has to be asked for.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from streamresults.client.turn import Bell, Turn
from streamresults.client.waiter import Phase
from streamresults.errors import ClientClosed, TopicUnavailable, WaitTimeout
from streamresults.events.event import Event
from tests.unit.desk import SOON, Desk
from tests.unit.test_killed_threads import kill
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Owner:
    """The thread whose turn it is by itself; lends it once."""

    def __init__(self) -> None:
        self.closed = False
        self.turn = Turn(lambda: self.closed)
        self.error: Exception | None = None
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._lend, daemon=True)
        self.turn.owner = self._thread
        self._thread.start()

    def _lend(self) -> None:
        self._go.wait(SOON)
        try:
            self.turn.lend()
        except Exception as exc:  # noqa: BLE001 -- looked at where the test asks
            self.error = exc

    def lend(self) -> None:
        self._go.set()

    def has_it_back(self) -> bool:
        self._thread.join(SOON)
        return not self._thread.is_alive()


@pytest.fixture
def owner() -> Iterator[Owner]:
    """Give an owner of a turn."""
    one = Owner()
    yield one
    one.closed = True
    one.lend()


def elsewhere(act: Callable[[], object]) -> object:
    """Return what a function returns in another thread than the main one."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join(SOON)
    return found[0]


def always() -> bool:
    """Say that the turn may come at any time."""
    return True


# -- the turn -------------------------------------------------------------------------------------------------------


def test_the_turn_is_lent_and_comes_back(owner: Owner) -> None:
    """Its owner rests meanwhile."""
    bell = Bell()

    assert elsewhere(lambda: owner.turn.ask(bell, always)) is True
    owner.lend()
    assert bell.wait(SOON) is True
    assert owner._thread.is_alive()
    owner.turn.leave(bell)
    assert owner.has_it_back()


def test_it_does_not_come_before_its_time(owner: Owner) -> None:
    """The owner goes on by itself until then, and whoever asks need not ask again."""
    bell = Bell()
    elsewhere(lambda: owner.turn.ask(bell, lambda: False))
    owner.lend()

    assert owner.has_it_back()
    assert bell.wait(0) is None
    assert owner.turn.is_asked_for


def test_only_one_gets_it(owner: Owner) -> None:
    """Neither while another one asks, nor while another one polls."""
    bell = Bell()
    asks = [elsewhere(lambda: owner.turn.ask(bell, always)), elsewhere(lambda: owner.turn.ask(Bell(), always))]
    owner.lend()
    bell.wait(SOON)
    asks.append(elsewhere(lambda: owner.turn.ask(Bell(), always)))

    assert [True, False, False] == asks
    owner.turn.leave(bell)


def test_the_main_thread_does_not_get_it(owner: Owner) -> None:
    """A signal must not end it between two records."""
    assert owner.turn.ask(Bell(), always) is False


def test_a_green_thread_does_not_get_it(owner: Owner) -> None:
    """It shares the system's thread with the owner."""

    def ask() -> bool:
        owner.turn.owner = threading.current_thread()
        return owner.turn.ask(Bell(), always)

    assert elsewhere(ask) is False


def test_who_leaves_before_it_came_does_not_get_it(owner: Owner) -> None:
    """And the owner does not rest."""
    bell = Bell()
    elsewhere(lambda: owner.turn.ask(bell, always))
    owner.turn.leave(bell)
    owner.lend()

    assert owner.has_it_back()
    assert bell.wait(0) is None


def test_who_leaves_without_having_heard_the_bell_gives_it_back(owner: Owner) -> None:
    """The wait may end as the turn comes."""
    bell = Bell()
    elsewhere(lambda: owner.turn.ask(bell, always))
    owner.lend()
    eventually(lambda: owner.turn._has is bell, SOON)
    owner.turn.leave(bell)
    owner.turn.leave(bell)

    assert owner.has_it_back()
    assert owner.turn._back.empty()


@pytest.mark.parametrize(
    ("error", "kind"), [(TopicUnavailable("away"), TopicUnavailable), (KeyboardInterrupt(), TopicUnavailable)]
)
def test_the_owner_is_told_how_polling_ended(owner: Owner, error: BaseException, kind: type[Exception]) -> None:
    """It then starts reading again: what had been fetched may be lost."""
    bell = Bell()
    elsewhere(lambda: owner.turn.ask(bell, always))
    owner.lend()
    bell.wait(SOON)
    owner.turn.leave(bell, error)

    assert owner.has_it_back()
    assert isinstance(owner.error, kind)


def test_an_owner_that_is_closed_does_not_wait_for_its_turn(owner: Owner) -> None:
    """Whoever polls has ended then, or will."""
    bell = Bell()
    elsewhere(lambda: owner.turn.ask(bell, always))
    owner.lend()
    bell.wait(SOON)
    owner.closed = True

    assert owner.has_it_back()


# -- waits that poll ------------------------------------------------------------------------------------------------


@contextmanager
def polling(desk: Desk, task: str = "t", **options: float) -> Iterator[Callable[[], tuple[str, str]]]:
    """Give the wait of a thread that polls, once it does."""
    wait = desk.wait(task, **options)  # type: ignore[arg-type]  # a timeout
    eventually(lambda: desk.engine.reader.turn._has is not None, SOON, "the thread that waits polls")
    yield lambda: wait.told


@pytest.fixture
def reading(desk: Desk) -> Desk:
    """Give a desk whose client reads its partition already."""
    desk.fold()
    first = desk.wait("first")
    desk.in_phase(Phase.ASLEEP, "first")
    desk.publish("first", "SUCCESS")
    first.result()
    desk.fold()
    return desk


def test_a_thread_that_waits_alone_polls(reading: Desk) -> None:
    """It returns what it has polled itself, and the reader's thread goes on for others."""
    with polling(reading) as told:
        reading.publish("t", "SUCCESS")

        assert ("SUCCESS", "topic") == told()
    reading.fold()

    assert reading.engine.reader.turn._has is None
    with polling(reading, "next") as told:
        reading.publish("next", "FAILURE")

        assert ("FAILURE", "topic") == told()


def test_it_serves_those_who_come_later(reading: Desk) -> None:
    """They need not wait until it has ended, nor do they when it has."""
    with polling(reading) as told:
        others = [reading.wait(f"o{n}") for n in range(3)]
        for number in range(2):
            reading.publish(f"o{number}", "SUCCESS")

            assert ("SUCCESS", "topic") == others[number].told
        reading.publish("t", "SUCCESS")

        assert ("SUCCESS", "topic") == told()
    reading.publish("o2", "SUCCESS")

    assert ("SUCCESS", "topic") == others[2].told


def test_nobody_polls_where_several_wait(reading: Desk) -> None:
    """Threads that end one after the other would hand the turn around all the time."""
    bystander = reading.client.on_result("other", print, via="topic")
    wait = reading.wait()
    reading.in_phase(Phase.ASLEEP)
    turn = reading.engine.reader.turn

    assert (None, None) == (turn._asks, turn._has)
    reading.publish("t", "SUCCESS")
    assert ("SUCCESS", "topic") == wait.told
    assert bystander.cancel()


def test_a_wait_that_lacks_its_proof_does_not_poll(reading: Desk) -> None:
    """Its end may come from the view, which would have to wait for the poll."""
    end = reading.publish("other", "SUCCESS") + 1  # behind what is folded
    eventually(lambda: reading.watch.next_offset == end, SOON)
    wait = reading.wait()
    reading.in_phase(Phase.UNPROVEN)

    assert reading.engine.reader.turn._has is None
    reading.publish("t", "FAILURE")
    reading.fold()
    assert ("FAILURE", "full") == wait.told


def test_a_poll_ends_when_the_proof_is_gone(reading: Desk) -> None:
    """Such as by a reset, which sends everybody back to step 1."""
    with polling(reading) as told:
        reading.publish("other", "SUCCESS")
        eventually(lambda: reading.watch.next_offset == 2, SOON)
        with reading.engine.waits.lock:
            reading.engine.waits.send_to_step_1({0: 2})
        eventually(lambda: reading.engine.reader.turn._has is None, SOON, "the turn is given back")
        reading.fold()
        reading.publish("t", "SUCCESS")

        assert "SUCCESS" == told()[0]


def test_its_time_is_kept(reading: Desk) -> None:
    """Polling blocks no longer than the wait may last, and the turn is given back."""
    with polling(reading, timeout=0.3) as told, pytest.raises(WaitTimeout, match="not ready"):
        told()

    assert reading.engine.reader.turn._has is None


def test_closing_ends_it(reading: Desk) -> None:
    """As any wait."""
    with polling(reading) as told:
        reading.client.close()
        with pytest.raises(ClientClosed):
            told()


def test_a_failed_poll_is_the_readers_trouble(reading: Desk) -> None:
    """The reader starts again and everybody is sent back to step 1: the wait goes on."""
    with polling(reading) as told:
        reading.broker.fail("away")
        eventually(lambda: reading.engine.reader.turn._has is None, SOON, "the turn is given back")
        reading.broker.fail(None)
        reading.publish("t", "SUCCESS")
        reading.fold()  # where it stands below the reader's new start

        assert "SUCCESS" == told()[0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the interruption itself
def test_an_interrupted_poll_loses_nothing(
    reading: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a thread had fetched when it was ended from outside is lost: the reader starts again for the others."""
    reader = reading.engine.reader
    hand_out = reader._hand_out

    def interrupted(polled: object) -> None:
        if polled.records and threading.current_thread().name != "streamresults-reader":  # type: ignore[attr-defined]
            raise SystemExit
        hand_out(polled)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "_hand_out", interrupted)
    with polling(reading):
        other = reading.wait("other")
        reading.in_phase(Phase.ASLEEP, "other")
        reading.publish("other", "SUCCESS")
        reading.fold()

        assert "SUCCESS" == other.told[0]
        eventually(lambda: "the thread that polled was interrupted by SystemExit" in caplog.text, SOON)


def test_a_reader_that_is_killed_while_another_thread_polls_starts_again_once(
    reading: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """What that thread gives back then is nobody's business any more: it would end the next turn as it begins."""

    def failures() -> int:
        return [getattr(record, "action", "") for record in caplog.records].count("reader_failed")

    with polling(reading) as told:
        kill(reading, "reader")
        eventually(failures, SOON, "the reader was killed")
        eventually(lambda: reading.engine.reader.turn._has is None, SOON, "the turn is given back")
        reading.publish("t", "SUCCESS")
        reading.fold()

        assert "SUCCESS" == told()[0]
    with polling(reading, "next") as told:
        reading.publish("next", "FAILURE")

        assert ("FAILURE", "topic") == told()
    assert 1 == failures()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the interruption itself
def test_who_is_interrupted_as_the_turn_comes_gives_it_back(reading: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader would rest for ever, and nobody would read."""
    turn, connection = reading.engine.reader.turn, reading.engine.reader.connection
    assert connection is not None
    wake, interrupted = connection.wake, threading.Event()

    def interrupt() -> None:
        wake()
        if threading.current_thread().name == "interrupted":
            eventually(lambda: turn._has is not None, SOON, "the turn has come")
            interrupted.set()
            raise SystemExit

    monkeypatch.setattr(connection, "wake", interrupt)
    threading.Thread(target=lambda: reading.client.wait("t", SOON, via="topic"), name="interrupted").start()
    assert interrupted.wait(SOON)
    eventually(lambda: turn._has is None, SOON, "the turn is given back")
    wait = reading.wait("other")
    reading.publish("other", "SUCCESS")

    assert "SUCCESS" == wait.told[0]


def test_who_polls_asks_for_no_schema(reading: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes as long as it takes, and a wait has its time: the reader asks, and what was polled is not lost."""
    codec, asked, answer = reading.engine.reader._codec, SimpleQueue[str](), threading.Event()

    def require(_: bytes) -> None:
        asked.put(threading.current_thread().name)
        assert answer.wait(SOON)
        monkeypatch.setattr(codec, "is_known", lambda _: True)

    ours = reading.codec.encode(Event(task_id="other", state="SUCCESS"))
    with polling(reading, timeout=1) as told:
        other = reading.wait("other")
        reading.in_phase(Phase.ASLEEP, "other")
        monkeypatch.setattr(codec, "require", require)
        reading.append(b"other", ours[:2] + bytes(8) + ours[10:])

        assert "streamresults-reader" == asked.get(timeout=SOON)
        with pytest.raises(WaitTimeout):
            told()
        answer.set()
        assert ("SUCCESS", "topic") == other.told
