"""What is installed: the wheel and the editable install carry the same, the schemas included."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import streamresults

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = sorted(str(path.relative_to(ROOT / "schemas")) for path in (ROOT / "schemas").rglob("*.avsc"))
#: What an installed package must be able to do: find its schemas, its scripts and its version.
CHECK = """
import importlib.metadata, importlib.resources, streamresults
from streamresults.events.codec import Codec
schemas = importlib.resources.files("streamresults.schemas")
print(streamresults.__file__)
print(importlib.metadata.version("streamresults"))
print(Codec().fingerprint.hex())
print(*sorted(path.name for path in schemas.joinpath("result_event").iterdir() if path.name.endswith(".avsc")))
assert importlib.resources.files("streamresults.store").joinpath("live.lua").is_file()
assert importlib.resources.files("streamresults").joinpath("py.typed").is_file()
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a program that must succeed."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a wheel that was built from a copy: building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "streamresults", "schemas"):
        run(["cp", "-r", ROOT / name, source], folder)
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, source], folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_every_module_and_every_schema(wheel: Path) -> None:
    """Nothing that the sources have is missing, and no test came along."""
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "streamresults").rglob("*")
        if path.suffix in {".py", ".lua", ".typed"} and "__pycache__" not in path.parts
    }

    assert set() == sources - names
    assert set() == {f"streamresults/schemas/{name}" for name in SCHEMAS} - names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {"streamresults"} == {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert f"-{streamresults.__version__}-" in wheel.name


def test_installed_wheel_finds_its_schemas(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, from a folder without sources; its command runs."""
    # On top of what is installed here: what is looked for is what the wheel itself brings.
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    run([sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", site, wheel], tmp_path)
    (here,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "dependencies.pth").write_text(here + "\n")

    said = run([python, "-c", CHECK], tmp_path).splitlines()
    version = run([python, "-m", "streamresults", "--version"], tmp_path)

    assert said[0].startswith(str(site))
    assert streamresults.__version__ == said[1]
    assert [Path(name).name for name in SCHEMAS] == said[3].split()
    assert f"streamresults {streamresults.__version__}\n" == version


def test_editable_install_finds_its_schemas(tmp_path: Path) -> None:
    """The install that these tests run in, seen from another folder."""
    said = run([sys.executable, "-c", CHECK], tmp_path).splitlines()

    assert [Path(name).name for name in SCHEMAS] == said[3].split()


def test_the_extra_for_celery_brings_what_a_broker_on_redis_needs() -> None:
    """Kombu's transport for Redis wants more than the client of Redis; the demonstration's worker has such a broker."""
    wanted = [text for text in importlib.metadata.requires("streamresults") or () if 'extra == "celery"' in text]

    assert any(text.startswith("celery[redis]") for text in wanted)
