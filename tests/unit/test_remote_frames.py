"""
What a revived exception is when it is raised. We test these aspects.

* Python shows the local frames and then the remote ones, for causes and members as well, however often it is raised
* no file is opened for a remote frame, and no frame keeps another one alive
* it pickles and copies, as does everything that stands for one; a failure of which only text is left is told
"""

from __future__ import annotations

import copy
import gc
import linecache
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamresults.errors import RemoteTaskError
from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.event import ExceptionNode, Frame
from streamresults.events.exceptions import capture
from streamresults.events.limits import LIMITS
from streamresults.events.payloads import default_registry
from streamresults.events.remote_frames import Raisable
from streamresults.events.revive import RemoteRepr, revive
from streamresults.events.traceback_text import capture_text
from tests.hostile.detectors import watched
from tests.strategies import nodes as any_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTRY = default_registry()
JSON = REGISTRY.by_name("json")


class Listed(Exception):
    """May be rebuilt."""


ALLOWLIST = ExceptionAllowlist([Listed])


def remotely() -> Exception:
    """Fail as a task does, with a cause and a group."""
    try:
        try:
            charge()
        except KeyError as exc:
            raise Listed("declined", {1}) from exc
    except Listed as exc:
        return exc
    raise AssertionError


def charge() -> None:
    raise KeyError("card")


def attach(exc: BaseException, nodes: Sequence[ExceptionNode]) -> BaseException:
    """Give an exception its recorded frames."""
    return Raisable(exc, nodes).exception


def raised(exc: BaseException, nodes: Sequence[ExceptionNode]) -> str:
    """Raise as a client does, and return what Python prints."""
    try:
        raise attach(exc, nodes)  # noqa: TRY301 -- as a client does
    except BaseException:  # noqa: BLE001 -- whatever it is
        return traceback.format_exc()


def test_a_raise_shows_local_frames_and_then_remote_ones() -> None:
    """Where it was waited for, and where it broke; of the cause as well."""
    nodes, text = capture(remotely(), JSON)
    exc = revive(nodes, text, ALLOWLIST, REGISTRY)
    shown = [raised(exc, nodes) for _ in range(3)][-1]

    cause, _, own = shown.partition("The above exception was the direct cause")
    assert cause.index("in remotely") < cause.index("in charge") < cause.index("KeyError: 'card'")
    assert own.index("in raised") < own.index(f'File "<remote {__file__}>"') < own.index("Listed: ('declined'")
    assert 1 == own.count("in raised"), "raising again does not add the local frames again"
    assert "charge()" in exc.remote_traceback  # type: ignore[attr-defined]


def test_members_of_a_group_have_their_frames() -> None:
    """Each where it broke."""
    nodes, text = capture(ExceptionGroup("several", [remotely(), ValueError(1)]), JSON)
    shown = raised(revive(nodes, text, ALLOWLIST, REGISTRY), nodes)

    assert "in remotely" in shown


def test_an_unlisted_exception_has_its_frames_too() -> None:
    """A RemoteTaskError is raised like any other."""
    nodes, text = capture(remotely(), JSON)
    exc = revive(nodes, text, ExceptionAllowlist(builtins=False), REGISTRY)

    assert isinstance(exc, RemoteTaskError)
    assert f'File "<remote {__file__}>"' in raised(exc, nodes)


@given(any_nodes)
def test_any_frames_can_be_attached_and_printed(node: ExceptionNode) -> None:
    """Whatever a record says of files, lines and names; nothing is opened for it."""
    exc = ValueError(1)
    with watched() as noticed:
        text = raised(exc, [node])

    assert [] == noticed
    assert text.endswith("ValueError: 1\n")
    assert not any(name.startswith("<remote") for name in linecache.cache)


def test_frames_hold_no_other_frame_and_are_bounded() -> None:
    """A frame that is kept must not keep a client's stack alive; a record of many makes no more than allowed."""
    frames = tuple(Frame(file=f"f{number}", line=number, function="f") for number in range(5 * LIMITS.frames))
    exc = attach(ValueError(1), [ExceptionNode(module="m", qualname="q", frames=frames)])
    gc.collect()
    found = list(traceback.walk_tb(exc.__traceback__))

    assert 2 * LIMITS.frames == len(found)
    assert all(frame.f_back is None and not frame.f_locals for frame, _ in found)
    assert [1, 1, 2] == [line for _, line in found[:3]]


COPIES = [copy.copy, copy.deepcopy, lambda exc: pickle.loads(pickle.dumps(exc))]


@pytest.mark.parametrize("make", COPIES, ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("allowlist", [ALLOWLIST, ExceptionAllowlist(builtins=False)], ids=["revived", "remote"])
def test_it_pickles_and_copies(make: Any, allowlist: ExceptionAllowlist) -> None:
    """To be handed on to another process, with all that it carries."""
    exc = remotely()
    exc.__dict__["code"] = 402
    exc.args = ("declined", object)
    exc.add_note("a note")
    nodes, text = capture(exc, JSON)
    revived: Any = attach(revive(nodes, text, allowlist, REGISTRY), nodes)
    actual = make(revived)

    assert (type(revived), revived.args, str(revived)) == (type(actual), actual.args, str(actual))
    assert vars(revived) == vars(actual)
    assert ["a note"] == actual.__notes__
    assert text == actual.remote_traceback


def test_what_stands_for_a_value_pickles() -> None:
    """It is equal to itself afterwards."""
    assert RemoteRepr("<x>") == pickle.loads(pickle.dumps(RemoteRepr("<x>")))


def test_a_refusal_pickles() -> None:
    """A SecurityError is a result like any other."""
    exc = revive((ExceptionNode(module="os", qualname="system"),), "", ALLOWLIST, REGISTRY)

    assert str(exc) == str(pickle.loads(pickle.dumps(exc)))


@pytest.mark.parametrize(
    ("text", "message", "name"),
    [
        (
            "Traceback ...\n  File x\nshop.errors.Declined: no funds\n",
            "shop.errors.Declined: no funds",
            "shop.errors:Declined",
        ),
        ("Traceback ...\n  File x\nValueError: x: y\n\n", "ValueError: x: y", "builtins:ValueError"),
        ("Traceback ...\nKeyboardInterrupt\n", "KeyboardInterrupt", "builtins:KeyboardInterrupt"),
        ("Worker exited prematurely: signal 9", "Worker exited prematurely: signal 9", ""),
        ("", "", ""),
        ("\ud800", "\\ud800", ""),
    ],
)
def test_a_text_alone_is_a_failure_with_its_message(text: str, message: str, name: str) -> None:
    """Such as a killed process leaves: matched by name, never rebuilt."""
    nodes, kept = capture_text(text)
    exc = revive(nodes, kept, ALLOWLIST, REGISTRY)

    assert isinstance(exc, RemoteTaskError)
    assert (message, "") == (exc.message, exc.type_name)
    assert not name or exc.is_type(name)
    assert name or exc.bases == ()
    assert text.encode("utf-8", "backslashreplace").decode() == exc.remote_traceback


@given(st.text())
def test_any_text_can_be_a_traceback(text: str) -> None:
    """It is captured without raising, within its limits."""
    nodes, kept = capture_text(text * 10)

    assert isinstance(revive(nodes, kept, ALLOWLIST, REGISTRY), RemoteTaskError)
