"""Rows of what a process pays before it does anything: the import, and the command line's help."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.bench import ROOT, Bench
from benchmarks.measure import Row, alternately, values_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NAMES: Final = ("import_ms", "import_flows_ms", "cli_help_ms")
_ROUNDS: Final = 11
_NOTHING: Final = [sys.executable, "-c", "pass"]
_IMPORT: Final = [sys.executable, "-c", "import streamresults"]
_FLOWS: Final = [
    sys.executable,
    "-c",
    "from streamresults import Client, Publisher, Wiring; import streamresults.topic.kafka",
]
_HELP: Final = [str(Path(sys.executable).with_name("streamresults")), "--help"]


def rows(_bench: Bench, wanted: Collection[str]) -> Iterator[Row]:
    """Measure what is wanted."""
    if "import_ms" in wanted:
        yield _beyond_nothing("import_ms", _IMPORT)
    if "import_flows_ms" in wanted:
        yield _beyond_nothing("import_flows_ms", _FLOWS, "client, publisher and Kafka's door")
    if "cli_help_ms" in wanted:
        yield _beyond_nothing("cli_help_ms", _HELP)


def _beyond_nothing(name: str, command: list[str], note: str = "") -> Row:
    """Return the time of a command without the interpreter's own start."""
    try:
        _milliseconds(command)
    except (OSError, subprocess.CalledProcessError) as exc:
        return Row(name, None, "ms", note=f"not measured: {type(exc).__name__}")
    taken, start = alternately(_ROUNDS, lambda: _milliseconds(command), lambda: _milliseconds(_NOTHING))
    subtracted = median(start)
    return values_row(name, [one - subtracted for one in taken], "ms", note or f"interpreter start {subtracted:.0f} ms")


def _milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000
