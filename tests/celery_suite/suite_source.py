"""Celery's tests out of its source distribution, and an environment of their own to run them in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
#: What Celery's tests import, and what runs them; its services' client libraries are left out, and with them the
#: tests of its backends on these. Versions are those of requirements/test.txt.
_TOOLS: Final = (
    "pytest==9.1.1",
    "pytest-rerunfailures==16.7",
    "pytest-subtests==0.15.0",
    "pytest-timeout==2.4.0",
    "pytest-click==1.1.0",
    "pytest-order==1.5.0",
    "freezegun",
    "psutil",
    "pydantic",
    "cryptography",
    "pyyaml",
    "msgpack",
    "django",
    "gevent",
    "eventlet",
    "setuptools",
)
#: What the tests of one release want besides. Those of 5.6 block for longer than redis-py from 8 on waits for a reply.
_TOOLS_OF: Final = {"5.6": ("redis<8",)}
#: What the package is made of.
_PACKAGE: Final = ("streamresults", "schemas", "pyproject.toml", "README.md", "LICENSE")
#: Step 2 of the guide, for the two classes that the tests of t/integration raise themselves.
_OVERRIDES: Final = {
    "streamresults_allow": ["t.integration.tasks:ExpectedException", "t.integration.tasks:UnpickleableException"]
}
#: What t/unit/conftest.py has as its backend, and how it finds threads that a test has left behind: ours stay.
_UNIT_BACKEND: Final = "'cache+memory://'"
_UNIT_THREADS: Final = "_threads_at_startup == alive_threads()"


class SuiteSource:
    """
    Celery's tests of one version, unpacked, with an environment beside them.

    Args:
        folder: Where all of it is kept for the next run.
        version: Of Celery, such as ``5.7.0``.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self.version: Final = version
        self.folder: Final = folder / version
        self.tests: Final = self.folder / f"celery-{version}"
        self.python: Final = self.folder / "venv" / "bin" / "python"

    def prepare(self) -> None:
        """
        Download and install what is not there yet, and streamresults as it is at this moment.

        It is a copy that is installed, so that the tree may be edited while the tests run.

        Raises:
            CalledProcessError: There is no such version, or the registry did not answer.
        """
        if not self.python.exists():
            self._install()
        if not self.tests.exists():
            self._unpack()
        self._pip("install", "--force-reinstall", "--no-deps", str(self._copied()))

    def _install(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(self.folder / "venv")], check=True)
        own = _TOOLS_OF.get(self.version.rpartition(".")[0], ())
        self._pip("install", f"{self._copied()}[celery]", f"celery[redis]=={self.version}", *_TOOLS, *own)

    def _copied(self) -> Path:
        """Copy what makes the package, as building it leaves files where it is built, and return where."""
        copy = self.folder / "streamresults"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for name in _PACKAGE:
            if (_ROOT / name).is_dir():
                shutil.copytree(_ROOT / name, copy / name)
            else:
                shutil.copy(_ROOT / name, copy / name)
        return copy

    def _pip(self, *arguments: str) -> None:
        subprocess.run([str(self.python), "-m", "pip", "--quiet", *arguments], check=True)

    def _unpack(self) -> None:
        wanted = f"celery=={self.version}"
        self._pip("download", "--no-deps", "--no-binary", "celery", "--dest", str(self.folder), wanted)
        with tarfile.open(self.folder / f"celery-{self.version}.tar.gz") as archive:
            archive.extractall(self.folder, filter="data")
        # The tests run where they lie, and would import the sources beside them instead of what is installed.
        (self.tests / "celery").rename(self.tests / "celery-sources")
        (self.tests / "integration-tests-config.json").write_text(json.dumps(_OVERRIDES))
        conftest = self.tests / "t" / "unit" / "conftest.py"
        text = conftest.read_text()
        for old, new in (
            (_UNIT_BACKEND, "os.environ['TEST_BACKEND']"),
            (_UNIT_THREADS, "_threads_at_startup == [t for t in alive_threads() if 'streamresults' not in t.name]"),
        ):
            if old not in text:
                msg = f"{conftest} has no {old!r} any more: say here how its backend is chosen"
                raise RuntimeError(msg)
            text = text.replace(old, new)
        conftest.write_text(text)
