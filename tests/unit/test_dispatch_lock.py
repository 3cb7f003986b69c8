"""
What finalizers leave behind: they wait for no lock, and nothing of what they leave stays.

We test these aspects: the lock free, held by another thread, held by the same one, waited with; what is dropped while
it waits.
"""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from streamresults.client.dispatch_lock import DispatchLock
from tests.unit.desk import SOON, Desk
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition


class Holder:
    """Holds a lock in a thread of its own, for a block."""

    def __init__(self, lock: Condition) -> None:
        self._lock, self._held, self._enough = lock, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with self._lock:
            self._held.set()
            assert self._enough.wait(SOON)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._held.wait(SOON)

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()


def test_it_is_done_at_once_while_nobody_has_the_lock() -> None:
    """With the lock, and everything that was left before."""
    lock, done = DispatchLock(), list[bool]()
    lock.leave(lambda: done.append(lock._is_owned()))  # type: ignore[attr-defined]

    assert [True] == done


def test_who_has_the_lock_does_it_when_letting_go() -> None:
    """Nobody waits for that, and it is done in the order in which it was left."""
    lock, done = DispatchLock(), list[int]()
    with Holder(lock):
        lock.leave(lambda: done.append(1))
        lock.leave(lambda: done.append(2))
        assert [] == done

    assert [1, 2] == done


def test_nothing_is_changed_under_the_hands_of_its_own_thread() -> None:
    """However often it has taken the lock."""
    lock, done = DispatchLock(), list[int]()
    with lock:
        with lock:
            lock.leave(lambda: done.append(1))
        assert [] == done

    assert [1] == done


def test_who_is_about_to_sleep_does_it_first() -> None:
    """Sleeping lets go of the lock without an end of its block."""
    lock, done = DispatchLock(), list[int]()
    with lock:
        lock.leave(lambda: done.append(1))
        lock.wait(0.0)
        assert [1] == done


def _as_completed(desk: Desk) -> object:
    taken = desk.client.results(["t", "never"]).as_completed(SOON)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, taken)
        eventually(lambda: desk.waiter() is not None, SOON)
        desk.publish("t", "SUCCESS")
        desk.fold()
        assert first.result(SOON).task_id == "t"
    return taken


def _events(desk: Desk) -> object:
    desk.publish("t", "STARTED")
    taken = desk.client.events("t", SOON)
    assert next(taken).state == "STARTED"
    return taken


@pytest.mark.usefixtures("folded_view")
@pytest.mark.parametrize("begun", [_as_completed, _events])
def test_what_is_dropped_while_it_waits_leaves_nothing_and_waits_for_no_lock(
    desk: Desk, begun: Callable[[Desk], object]
) -> None:
    """Wherever the garbage collector finds it."""
    dropped = [begun(desk)]
    assert desk.watch.wanted
    with Holder(desk.engine.waits.lock), ThreadPoolExecutor(1) as pool:

        def drop() -> None:
            dropped.clear()
            gc.collect()

        pool.submit(drop).result(SOON)

    eventually(lambda: not desk.watch.wanted, SOON)
