"""
Our own errors are values like others: what they say survives being handed on to another process, or copied.

We test these aspects: every class of the tree, with every attribute, whatever its constructor wants; notes; errors of
several events inside of one; what a subclass adds.
"""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from typing import Any

import pytest

from streamresults import errors
from streamresults.errors import BatchFailed, PublishFailed, RemoteTaskError, StreamResultsError, WaitTimeout
from streamresults.events.event import ExceptionNode, Frame

LOST = PublishFailed("lost", task_id="t", event_id="e" * 32, written=None)
RECORD = (ExceptionNode(module="shop", qualname="E", frames=(Frame(file="f", line=1, function="g"),)),)
#: What constructors want, by name.
WANTED: dict[str, Any] = {
    "bases": ("shop:E", "builtins:Exception"),
    "content_type": "application/yaml",
    "event_id": "e" * 32,
    "failures": {1: LOST},
    "fingerprint": "00" * 8,
    "key_id": "key-1",
    "kind": "shop.Money",
    "last": LOST,
    "limit": 5,
    "new_id": "new",
    "old_id": "old",
    "path": "result['a']",
    "place": "results.dlq[3]@41",
    "positions": [("topic", 0, 1), None],
    "reason": "BadMagic",
    "record": RECORD,
    "remote_traceback": "Traceback ...",
    "retries": 2,
    "size": 6,
    "state": "STARTED",
    "task_id": "t",
    "type_name": "shop:E",
    "uri": "s3://bucket/x",
    "why": "unsigned",
    "written": False,
}
CLASSES = [
    found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, StreamResultsError)
]
COPIES = pytest.mark.parametrize(
    "again",
    [*(lambda exc, n=n: pickle.loads(pickle.dumps(exc, n)) for n in range(6)), copy.copy, copy.deepcopy],
    ids=[*(f"pickle {number}" for number in range(6)), "copy", "deepcopy"],
)


def made(cls: type[StreamResultsError]) -> Any:
    """Make an error with every argument that its class takes."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    keywords = {each.name: WANTED[each.name] for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    return cls("what failed, what was tried, what to do", **keywords)


def facts(exc: BaseException) -> Any:
    """Return all that an error says; errors inside of it are compared the same way."""
    inside = {name: facts(value) if isinstance(value, BaseException) else value for name, value in vars(exc).items()}
    if isinstance(exc, BatchFailed):
        inside["failures"] = {place: facts(failure) for place, failure in exc.failures.items()}
    return type(exc), str(exc), exc.args, inside, isinstance(exc, OSError) and (exc.errno, exc.strerror)


@COPIES
@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_comes_back_with_all_that_it_says(cls: type[StreamResultsError], again: Any) -> None:
    """As one that was caught by its class, with its attributes and notes."""
    exc = made(cls)
    exc.add_note("while the shop was closing")
    actual = again(exc)

    assert facts(exc) == facts(actual)
    assert actual is not exc
    assert ["while the shop was closing"] == actual.__notes__


@COPIES
def test_what_users_add_comes_back_as_well(again: Any) -> None:
    """Attributes that they set, on classes that they derive."""
    exc = made(WaitTimeout)
    exc.order = 7

    assert 7 == again(exc).order
    assert type(again(Derived("m", order=8))) is Derived
    assert (8, ("m",)) == (again(Derived("m", order=8)).order, again(Derived("m", order=8)).args)


class Derived(StreamResultsError):
    """A user's own, with a constructor of its own."""

    def __init__(self, message: str, *, order: int) -> None:
        super().__init__(message)
        self.order = order


def test_an_error_with_errno_keeps_it() -> None:
    """The fields that OSError keeps in C are made of its arguments."""
    exc = errors.TopicUnavailable(111, "refused")
    actual = pickle.loads(pickle.dumps(exc))

    assert (111, "refused", str(exc)) == (actual.errno, actual.strerror, str(actual))


def _fail() -> None:
    raise made(WaitTimeout)


def test_it_crosses_the_pool_of_another_process() -> None:
    """Whose parent would otherwise hang, or be told of a constructor."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(WaitTimeout) as caught:
        pool.apply(_fail)

    assert ("t", "STARTED") == (caught.value.task_id, caught.value.state)


def test_a_remote_error_still_matches_by_name() -> None:
    """In the process that it was handed on to."""
    actual = pickle.loads(pickle.dumps(made(RemoteTaskError)))

    assert actual.is_type("builtins:Exception")
    assert RECORD == actual.record
