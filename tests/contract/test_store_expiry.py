"""
When values and marks end, in Redis and in memory alike.

We test these aspects: each is gone when its time has passed and no sooner; what is past already is not kept; a summary
lives as long as the longest of what it hides; what never expires has no end on the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.events.fold import NEVER
from streamresults.store.keys import Keys
from tests.contract.store_desk import STARTED, SUCCESS, TOPIC, batch, entry, look, mark, offsets, pass_until

if TYPE_CHECKING:
    from redis_server import RedisServer

    from streamresults.store.base import View
    from streamresults.store.redis import RedisStore


def test_a_value_is_gone_when_its_time_has_passed(view: View) -> None:
    """What need not be kept any more is not there; what is kept for ever stays."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, {"a": entry(1, keep=soon), "b": entry(2)})])
    pass_until(view, soon)

    assert [None, 2] == offsets(view, "a", "b")


def test_a_mark_is_gone_when_its_time_has_passed(view: View) -> None:
    """A mark has the expiry of what it stands for."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, marks={"a": mark(1, keep=soon), "b": mark(2)})])
    pass_until(view, soon)

    assert [None, mark(2)] == list(look(view, "a", "b").marks)


def test_what_is_past_already_is_not_kept(view: View) -> None:
    """A batch read late does not bring back what has expired."""
    view.apply([batch(0, 5, {"a": entry(1, keep=1)}, marks={"a": mark(1, keep=1)})])
    looked = look(view, "a")

    assert ([None], [None]) == (list(looked.values), list(looked.marks))


def test_the_longest_expiry_keeps_the_whole_summary(view: View) -> None:
    """A summary stays until nothing that it hides could come back."""
    soon = look(view).now_ms + 60
    view.apply([batch(0, 5, {"a": entry(1, SUCCESS, keep=soon)})])
    view.apply([batch(5, 6, {"a": entry(5, STARTED, keep=NEVER)})])
    pass_until(view, soon)

    assert [1] == offsets(view, "a")


@pytest.mark.redis
def test_only_what_never_expires_is_kept_without_an_end(server: RedisServer, own: RedisStore) -> None:
    """Redis itself drops a value when its time has come; unlimited retention sets no time."""
    later = look(own.view("ns", TOPIC)).now_ms + 3_600_000
    own.view("ns", TOPIC).apply([batch(0, 1, {"a": entry(0, keep=later), "b": entry(0)})])
    prefix = Keys("ns", TOPIC).value_prefix(0)

    assert server.execute("PEXPIRETIME", prefix + "a") == str(later)
    assert server.execute("PEXPIRETIME", prefix + "b") == "-1"
