"""
What the library logs, and that it does so only where its program wants it.

We test these aspects: silence without a set-up, a stable machine name on every line, and one line where many partitions
begin at once.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import streamresults

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from streamresults.wiring import Wiring

_LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a logger in the package, with its place."""
    for file in sorted(Path(streamresults.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _LEVELS
                and ast.unparse(node.func.value) in {"_log", "log"}
            ):
                yield f"{file.name}:{node.lineno}", node


def test_nothing_is_written_where_no_logging_was_set_up(tmp_path: Path) -> None:
    """Not even errors: Python's last resort would write those to stderr."""
    code = "import logging, streamresults; logging.getLogger('streamresults.publisher').error('lost')"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)


def test_every_line_has_a_name_for_machines() -> None:
    """``action`` is what to count and to alert on; the text may change."""
    calls = list(log_calls())
    nameless = [
        place
        for place, call in calls
        if not any(word.arg == "extra" and "'action':" in ast.unparse(word.value) for word in call.keywords)
    ]

    assert len(calls) > 30
    assert [] == nameless


def test_generations_that_begin_together_are_one_line(memory_wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """As on a fresh topic, or after a flush, whatever the number of partitions."""
    stop = Event()
    memory_wiring.compactor().run_once(stop, 30)

    (line,) = (r for r in caplog.records if getattr(r, "action", "") == "generation_began")
    assert ([0, 1, 2, 3], 0) == (line.partitions, line.missing)  # type: ignore[attr-defined]
    assert "{0: 0, 1: 0, 2: 0, 3: 0}" in line.getMessage()
    assert "NotYetCovered" not in line.getMessage()


def test_line_says_how_much_is_not_covered_yet(memory_wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """Misses below the generation's begin are no UNKNOWN until back-fill was there."""
    with memory_wiring.publisher() as publisher:
        for number in range(5):
            publisher.succeeded(str(number))
    memory_wiring.compactor().run_once(Event(), 30)

    (line,) = (r for r in caplog.records if getattr(r, "action", "") == "generation_began")
    assert "5 offsets below are not covered yet, misses there are answered NotYetCovered" in line.getMessage()
