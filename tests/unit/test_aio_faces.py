"""The faces for event loops have every public name of the objects that they stand on, with the same parameters."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from streamresults.aio import AsyncClient, AsyncPublisher
from streamresults.client import Client
from streamresults.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the machinery is told of; no caller calls it.
TOLD = {"after_fork", "awaited", "grown", "heard", "missing", "recreated"}


def _public(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")} - TOLD


def _parameters(face: type, name: str) -> list[tuple[str, object, object]] | None:
    found: Callable[..., object] | property = inspect.getattr_static(face, name)
    if isinstance(found, property):
        return None
    return [(p.name, p.kind, p.default) for p in inspect.signature(found).parameters.values()]


PAIRS = [
    *((AsyncClient, Client, name) for name in sorted(_public(Client))),
    *((AsyncPublisher, Publisher, name) for name in sorted(_public(Publisher))),
]


@pytest.mark.parametrize(("face", "stands_on", "name"), PAIRS, ids=[f"{pair[1].__name__}.{pair[2]}" for pair in PAIRS])
def test_a_face_has_the_same_name_with_the_same_parameters(face: type, stands_on: type, name: str) -> None:
    """Whoever knows the one knows the other."""
    assert name in _public(face)
    assert _parameters(stands_on, name) == _parameters(face, name)


@pytest.mark.parametrize(("face", "stands_on"), [(AsyncClient, Client), (AsyncPublisher, Publisher)])
def test_a_face_has_no_other_names(face: type, stands_on: type) -> None:
    """What is there for coroutines is there for threads."""
    assert set() == _public(face) - _public(stands_on)
