"""
A plugin for the pytest that runs Celery's own tests: writes what became of each, and bounds what each may take.

It is loaded with ``-p reporting`` and imports nothing of this repository: Celery's tests run in an environment of their
own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

#: Celery has a test that failed for a reason that may pass run five times more. Fewer call an unlucky one failed; more
#: let the tests that must fail here take an hour.
_RERUNS = 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test's time and repetitions, which Celery's own marks leave at minutes."""
    seconds = float(os.environ["CELERY_SUITE_SECONDS"])
    for item in items:
        item.add_marker(pytest.mark.timeout(seconds), append=False)
        if item.get_closest_marker("flaky") is not None:
            item.add_marker(pytest.mark.flaky(reruns=_RERUNS), append=False)


def pytest_runtest_logreport(report: Any) -> None:
    """Write one line for each phase of a test that says something."""
    if report.when != "call" and report.outcome == "passed":
        return
    line = {
        "test": report.nodeid,
        "outcome": _outcome(report),
        "seconds": round(report.duration, 2),
        "subtest": hasattr(report, "context"),
        "why": _why(report),
    }
    with Path(os.environ["CELERY_SUITE_REPORT"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _outcome(report: Any) -> str:
    if report.when != "call" and report.outcome == "failed":
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.outcome == "skipped" else "xpassed"
    return str(report.outcome)


def _why(report: Any) -> str:
    """Return the line that says why a test did not pass."""
    if report.outcome == "passed":
        return ""
    if report.outcome == "skipped":
        return str(getattr(report, "wasxfail", "") or report.longrepr[-1])
    crash = getattr(report.longrepr, "reprcrash", None)
    where = f"{Path(crash.path).name}:{crash.lineno}: {crash.message}" if crash else str(report.longrepr)
    return " ".join(where.split())[:300]
