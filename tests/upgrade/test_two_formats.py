"""
The kept release and a release to come whose view has another format, on one topic and in one namespace.

We test these aspects: each keeps and reads a view of its own, while both run and after either has gone; a reader that
finds the other's alone says so, whichever of the two is the newer one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from streamresults.store.coverage import FORMAT
from tests.acceptance.conftest import PATIENCE, logged
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.upgrade.conftest import Release

OTHER = FORMAT + 1

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(180)]


def read(release: Release, task_id: str) -> bool:
    """Tell whether a caller that knows Redis alone gets the result."""
    return release.configured(kafka_bootstrap="").cli("get", task_id).code == 0


def refused(release: Release) -> str:
    """Return the line with which such a caller is refused."""
    return release.configured(kafka_bootstrap="").cli("get", "t").failed_in_one_line(2)


def test_compactors_of_two_formats_run_side_by_side(previous: Release, next_format: Release) -> None:
    """Neither takes partitions or keys from the other: rolling out and rolling back are starting and stopping."""
    releases = (previous, next_format)
    with ExitStack() as stack:
        running = []
        for release in releases:
            running.append(stack.enter_context(release.cli.started("compactor", "run", "--from", "earliest")))
            assert "[0, 1, 2]" in logged(running[-1], "partitions assigned")
        tasks = [f"t-{number}" for number in range(6)]
        for task in tasks:
            assert 0 == previous.cli("publish", task, "--result", "1").code
        for release in releases:
            eventually(lambda r=release: all(read(r, task) for task in tasks), PATIENCE, "each view has all")  # type: ignore[misc]
        for compactor in running:
            compactor.terminate()
            assert 0 == compactor.wait(PATIENCE)

    for release in releases:
        release.verify()


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_reader_names_the_format_that_is_there(
    previous: Release, next_format: Release, *, newest_first: bool
) -> None:
    """Until a compactor of its own release has run; then each reads its own view."""
    first, second = (next_format, previous) if newest_first else (previous, next_format)
    assert 0 == previous.cli("publish", "t", "--result", "7").code
    first.compact()

    line = refused(second)
    second.compact()

    assert f"format {OTHER if newest_first else FORMAT}, " in line
    assert f"reads {FORMAT}" in line if newest_first else f"reads format {OTHER}: run a compactor" in line
    assert [True, True] == [read(release, "t") for release in (first, second)]
    first.verify()
    second.verify()
