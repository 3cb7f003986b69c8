"""The demonstration of Celery: it shows everything, leaves nothing, and says what is missing."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_demo import PATIENCE, command, is_there

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which temporary files can be counted, with a setting that is none of the demo's."""
    return {**os.environ, "TMPDIR": str(tmp_path), "STREAMRESULTS_TOPIC": "not-the-demo's"}


def demo(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--celery"),
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
        encoding="utf-8",
    )


def test_it_shows_a_celery_application_and_ends_by_itself(environment: dict[str, str], tmp_path: Path) -> None:
    """Twelve lines, a value, a listed and an unlisted exception, a chord, and a task that never was."""
    ran = demo(environment)

    assert (0, "") == (ran.returncode, ran.stderr)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("    ")]
    assert lines[0] == "    from celery import Celery, chord"
    assert lines[11] == "    def charge(card): raise Declined(card)"
    for shown in (
        r"add\.delay\(2, 2\)\.get\(\) +4\n",
        r"OutOfStock: order-7\n +except OutOfStock catches it",
        r"shop:Declined: card_9\n +a RemoteTaskError .* streamresults_allow = \['shop:Declined'\]",
        r"chord of 10 add\.s\(n, n\) +90\n",
        r"PENDING\n.*exists\(\) is False",
        r"Go on: streamresults demo --celery",
    ):
        assert re.search(shown, ran.stdout)
    pids = re.findall(r"pid (\d+)", ran.stdout)
    assert 2 == len(pids)
    assert not any(is_there(pid) for pid in pids)
    assert [] == list(tmp_path.iterdir())


def test_without_celery_it_names_the_extra_and_starts_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    hidden = tmp_path / "site" / "celery"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError\n")

    ran = demo({**environment, "PYTHONPATH": str(hidden.parent)})

    assert (2, "") == (ran.returncode, ran.stdout)
    (line,) = ran.stderr.splitlines()
    assert "streamresults[celery,demo]" in line
    assert ["site"] == [path.name for path in tmp_path.iterdir()]


def test_a_worker_that_does_not_come_up_ends_it_with_its_last_words(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """One line; what had been started is gone."""
    broken = tmp_path / "site"
    broken.mkdir()
    hook = "import sys\nif 'worker' in sys.orig_argv:\n    sys.exit('no worker today')\n"
    (broken / "sitecustomize.py").write_text(hook)

    ran = demo({**environment, "PYTHONPATH": str(broken)})

    assert 5 == ran.returncode
    (line,) = ran.stderr.splitlines()
    assert "no worker today" in line
    assert ["site"] == [path.name for path in tmp_path.iterdir()]
