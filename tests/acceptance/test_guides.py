"""The examples of the how-to pages run as they stand, each page's in its order and in one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamresults.cli.program import COMMANDS
from streamresults.settings import Settings
from tests.acceptance.conftest import PATIENCE
from tests.compacting import compacting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Cli

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDES = ["publishing.md", "large-results.md"]


def program(guide: str) -> str:
    """Return a page's Python examples as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / guide).read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture
def compacted(cli: Cli) -> Iterator[Cli]:
    """Give commands with a compactor at work."""
    with compacting(cli.wiring):
        yield cli


def run(cli: Cli, guide: str) -> str:
    """Run a page's examples; return what they print."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program(guide)],
        env={**os.environ, **cli.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done
    return done.stdout


@pytest.mark.kafka
@pytest.mark.redis
def test_everything_about_publishing_runs(compacted: Cli) -> None:
    """And has become of the tasks what the page says."""
    assert "" == run(compacted, "publishing.md")
    with compacted.wiring.client() as client:
        assert {"paid": True} == client.get("order-7", 30)
        tasks = ("charge-7", "order-9", "order-150")

        assert [{"paid": 7}, {"paid": 9}, 150] == [client.get(task, 30) for task in tasks]

        report = client.wait("report-1", 30).event

    assert (b"", 600_000) == (report.args, report.expires_after_ms)


@pytest.mark.kafka
@pytest.mark.redis
def test_everything_about_large_results_runs(compacted: Cli) -> None:
    """The caller gets all the rows."""
    assert "100000\n" == run(compacted, "large-results.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_every_setting_and_name_that_a_guide_states_exists(guide: str) -> None:
    """Methods, errors and settings in backticks, as far as they can be told from other words."""
    import streamresults  # noqa: PLC0415 -- its public names

    text = (DOCS / guide).read_text()
    settings = set(re.findall(r"`((?:publish|payload|retry|spool|progress|compress|task|extended)_\w+)`", text))
    errors = set(re.findall(r"`((?:Payload|Publish|Batch|Retries|Task|Configuration)[A-Z]\w+)`", text))

    assert settings - {"publish_many", "task_id"} <= set(Settings.__struct_fields__)
    assert errors - {"PayloadStore"} <= set(streamresults.__all__)
    assert set(re.findall(r"`streamresults ([a-z]+)", text)) <= set(COMMANDS)
