"""The tour of deploy/local, as somebody meets it who wants to see Redis being lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tests.services  # noqa: F401 -- makes deploy/local importable

if TYPE_CHECKING:
    from collections.abc import Iterator

TOUR = Path(__file__).resolve().parents[2] / "deploy" / "local" / "tour"
#: Seconds; it takes some fifteen with few results.
PATIENCE = 110.0

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which temporary files can be counted; skip at a desk without the programs."""
    import programs  # noqa: PLC0415 -- of deploy/local
    from processes import LocalServicesError  # noqa: PLC0415

    try:
        programs.java()
        programs.redis_server()
        programs.kafka_jars()
    except LocalServicesError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))
    clean = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("STREAMRESULTS_") or name == "STREAMRESULTS_CACHE"
    }
    return {**clean, "TMPDIR": str(tmp_path)}


@pytest.fixture
def touring(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Give a tour with few results under way."""
    with subprocess.Popen(
        [sys.executable, str(TOUR), "--results", "5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def is_there(pid: str) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def test_tour_shows_a_redis_that_comes_back(touring: subprocess.Popen[str], tmp_path: Path) -> None:
    """Everything is lost, new results go on, back-fill completes the view, the log agrees, and nothing is left."""
    out, err = touring.communicate(timeout=PATIENCE)

    assert (0, "") == (touring.returncode, err), out
    flushed = out.index("FLUSHALL")
    for shown in (
        r"new-\d+ published and waited for in \d+ ms",
        r"\$ streamresults lag --watch",
        r"to fill +0 +covered 100%",
        r"task-0, published first of all: SUCCESS",
        r"verify: \d+ match, 0 differ, 0 missing",
    ):
        assert re.search(shown, out[flushed:]), shown
    pids = re.findall(r"pid (\d+)", out)
    assert 3 == len(pids)
    assert not any(is_there(pid) for pid in pids)
    assert [] == list(tmp_path.iterdir())
    assert os.access(TOUR, os.X_OK)


def test_tour_that_is_cut_short_stops_what_it_started(touring: subprocess.Popen[str], tmp_path: Path) -> None:
    """SIGTERM in the middle, as Ctrl-C, leaves neither a process nor a file."""
    assert touring.stdout is not None
    said = ""
    for line in touring.stdout:
        said += line
        if line.startswith("compactor"):
            break
    touring.send_signal(signal.SIGTERM)
    touring.communicate(timeout=PATIENCE)

    pids = re.findall(r"pid (\d+)", said)
    assert 130 == touring.returncode
    assert 3 == len(pids)
    assert not any(is_there(pid) for pid in pids)
    assert [] == list(tmp_path.iterdir())
