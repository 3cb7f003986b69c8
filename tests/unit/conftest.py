"""What many unit tests begin with: a desk in memory, and a backend for Celery whose topic is folded meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.celery_desk import backend_of, closing_backends, make_app
from tests.compacting import compacting
from tests.unit.desk import Desk, desks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

    from streamresults.celery import StreamResultsBackend
    from streamresults.wiring import Wiring


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Give a function that opens desks, each with settings of its own."""
    yield from desks()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """Give a desk."""
    return open_desk()


@pytest.fixture
def folded_view(desk: Desk) -> None:
    """Have the desk's view fold all there is, before the test begins."""
    desk.fold()


@pytest.fixture
def folded(memory_wiring: Wiring) -> Iterator[Wiring]:
    """Give a wiring in memory whose topic is folded meanwhile."""
    with compacting(memory_wiring), closing_backends():
        yield memory_wiring


@pytest.fixture
def app(folded: Wiring) -> Celery:
    """Give the application of who waits."""
    return make_app(folded)


@pytest.fixture
def worker(folded: Wiring) -> Any:
    """Give the backend of who runs the tasks: another process, for all that the first one knows."""
    return make_app(folded).backend


@pytest.fixture
def backend(folded: Wiring) -> StreamResultsBackend:
    """Give a backend of an application with Celery's defaults."""
    return backend_of(folded)
