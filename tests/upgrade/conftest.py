"""Two releases on one topic and one view: the one kept in tests/previous, installed by itself, and these sources."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from streamresults.store.coverage import FORMAT
from tests.acceptance.conftest import Cli, Ran, cli_on

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
_WORKER = str(Path(__file__).with_name("worker.py"))
_WHERE = "import streamresults; print(streamresults.__file__)"


class Release(NamedTuple):
    """One release's programs, all on the same topic and the same view."""

    #: Its interpreter.
    python: str
    cli: Cli
    #: Runs ``worker.py``.
    worker: Cli

    def configured(self, **settings: str) -> Release:
        """Return the same with other settings."""
        environment = self.cli.environment | {f"STREAMRESULTS_{key.upper()}": text for key, text in settings.items()}
        return _release(self.python, replace(self.cli, environment=environment))

    def says(self, code: str) -> str:
        """Run some code with it, and return what that prints."""
        ran = replace(self.cli, program=(self.python, "-c", code))()
        assert ran.code == 0, ran
        return ran.out.strip()

    def compact(self) -> Ran:
        """Fold what there is."""
        ran = self.cli("compactor", "run", "--once")
        assert ran.code == 0, ran
        return ran

    def verify(self) -> Ran:
        """Hold the view against the log; both must be complete and agree."""
        ran = self.cli("replay", "--verify")
        assert (0, "") == (ran.code, ran.out), ran
        assert " 0 differ, 0 missing, 0 skipped" in ran.err
        assert "does not cover" not in ran.err
        return ran


def newest_kept() -> Path:
    """Return the wheel of the newest release that is kept."""
    kept = (ROOT / "tests" / "previous").glob("*.whl")
    return max(kept, key=lambda path: [int(part) for part in path.name.split("-")[1].split(".")])


@pytest.fixture(scope="session")
def previous_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give an interpreter that has the kept release."""
    python, site = _environment(tmp_path_factory.mktemp("previous"))
    options = ["--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(newest_kept())], check=True, timeout=50)
    return _importing_from(site, python)


@pytest.fixture(scope="session")
def next_format_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give an interpreter that has a release to come: these sources, with another format of the view."""
    python, site = _environment(tmp_path_factory.mktemp("next"))
    package = site / "streamresults"
    shutil.copytree(ROOT / "streamresults", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "schemas", package / "schemas")
    for name, pattern in {
        "coverage.py": r"(FORMAT: Final = )\d+",
        "fold.lua": rf"(struct\.pack\((?:HEAD|COVERAGE), ){FORMAT}\b",
    }.items():
        file = package / "store" / name
        text, count = re.subn(pattern, rf"\g<1>{FORMAT + 1}", file.read_text())
        assert count, name
        file.write_text(text)
    return _importing_from(site, python)


def _environment(folder: Path) -> tuple[str, Path]:
    """Make an environment whose dependencies are what is installed here; return its interpreter and its folder."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Behind its own folder in the path; and the .pth files there, such as an editable install's, are not followed.
    (here,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "dependencies.pth").write_text(here + "\n")
    return str(folder / "bin" / "python"), site


def _importing_from(site: Path, python: str) -> str:
    """Make sure that the package comes from there."""
    found = subprocess.run([python, "-c", _WHERE], check=True, capture_output=True, text=True, cwd=site.parent).stdout
    assert found.startswith(str(site)), found
    return python


def _release(python: str, cli: Cli) -> Release:
    return Release(
        python,
        replace(cli, program=(python, "-m", "streamresults")),
        replace(cli, program=(python, _WORKER)),
    )


@pytest.fixture
def releases(
    kafka_bootstrap: str, redis_url: str, previous_python: str, tmp_path: Path
) -> Iterator[dict[str, Release]]:
    """Give both releases on topics and a namespace of their own; no compactor runs."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path) as cli:
        yield {"previous": _release(previous_python, cli), "current": _release(sys.executable, cli)}


@pytest.fixture
def previous(releases: dict[str, Release]) -> Release:
    """Give the kept release."""
    return releases["previous"]


@pytest.fixture
def current(releases: dict[str, Release]) -> Release:
    """Give these sources."""
    return releases["current"]


@pytest.fixture
def next_format(current: Release, next_format_python: str) -> Release:
    """Give the release to come whose view has another format."""
    return _release(next_format_python, current.cli)
