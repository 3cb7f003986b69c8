"""What the README tells people to type, typed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamresults.cli.program import COMMANDS
from tests.acceptance.conftest import PATIENCE, Cli, cli_on, logged

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def fresh(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Give commands on topics that the README's own command makes."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path, topics=False) as found:
        yield found


def run_python(cli: Cli, code: str) -> subprocess.CompletedProcess[str]:
    """Run one of the README's examples as a file of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **cli.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def commands(block: str) -> list[list[str]]:
    """Return the streamresults commands of a block, without the name of the program."""
    lines = [shlex.split(line) for line in block.splitlines()]
    return [words[1:] for words in lines if words[0] == "streamresults"]


def test_everything_in_the_readme_runs(fresh: Cli) -> None:
    """In its order: set up, publish with one example and get with the other, then the commands."""
    set_up, shell = (block for block in blocks("sh") if "streamresults " in block)
    get, publish = blocks("python")
    init, compact = commands(set_up)

    assert 0 == fresh(*init).code
    with fresh.started(*compact) as compactor:
        logged(compactor, "partitions assigned")
        published = run_python(fresh, publish)
        got = run_python(fresh, get)
        assert (0, "") == (published.returncode, published.stderr)
        assert (0, "{'paid': True}\n", "") == (got.returncode, got.stdout, got.stderr)
        for arguments in commands(shell):
            ran = fresh(*arguments)
            assert 0 == ran.code, (arguments, ran)
        compactor.terminate()
        compactor.wait(PATIENCE)


def test_every_command_that_the_readme_names_exists() -> None:
    """No command is promised that is not there, and every make target is in the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set() == set(re.findall(r"`?streamresults ([a-z]+)", README)) - set(COMMANDS)
    assert set() == set(re.findall(r"^make (\w+)", README, re.MULTILINE)) - targets


def test_every_file_that_the_readme_names_exists() -> None:
    """Paths in backticks are paths of this repository."""
    named = re.findall(r"`([\w.]+/[\w./]*\w\.(?:md|py|yml))`", README)

    assert named
    assert [] == [name for name in named if not (ROOT / name).exists()]
