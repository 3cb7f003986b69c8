"""The examples of the how-to pages, run as their readers would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamresults.cli.program import COMMANDS
from tests.acceptance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

DOCS = Path(__file__).resolve().parents[2] / "docs"

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.mark.parametrize("page", ["waiting.md", "results.md"])
def test_the_examples_of_a_page_run(running: Cli, page: str) -> None:
    """All of them, in their order, as one program."""
    examples = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        env={**os.environ, **running.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert examples
    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize("page", ["waiting.md", "results.md"])
def test_every_command_of_a_page_exists(page: str) -> None:
    """No command is promised that is not there."""
    assert set() == set(re.findall(r"`streamresults ([a-z]+)", (DOCS / page).read_text())) - set(COMMANDS)
