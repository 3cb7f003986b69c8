"""
Celery's own tests, out of its source distribution, on this backend: ``make celery-suite``; about twenty minutes.

    python -m tests.celery_suite [--celery 5.7.0] [--backend streamresults|redis] [--folder .celery-suite] [TEST ...]

The tests run against the installed Celery, with a worker, a real Redis as broker, a real Kafka and a compactor.
``--backend redis`` runs them on Celery's own backend instead. What failed is compared with expected.toml; the exit code
is 1 when something fails that does not stand there, or passes that does.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.celery_suite.judging import expected, judge
from tests.celery_suite.running import INTEGRATION, UNIT, Running
from tests.celery_suite.suite_source import SuiteSource

if TYPE_CHECKING:
    from tests.celery_suite.judging import Verdict


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.celery_suite")
    parser.add_argument("--celery", default=version("celery"), help="the version of Celery (default: %(default)s)")
    parser.add_argument("--backend", choices=["streamresults", "redis"], default="streamresults")
    parser.add_argument("--folder", type=Path, default=Path(".celery-suite"))
    parser.add_argument("tests", nargs="*", default=[*INTEGRATION, *UNIT], help="what pytest is to select")
    asked = parser.parse_args()
    source = SuiteSource(asked.folder.resolve(), asked.celery)
    source.prepare()
    with Running(source, asked.backend) as running:
        collected = running.run(asked.tests, _say)
    verdict = judge(running.report.read_text().splitlines(), expected(), asked.celery, asked.backend, collected)
    _tell(verdict)
    return 0 if verdict.good else 1


def _tell(verdict: Verdict) -> None:
    _say("  ".join(f"{count} {outcome}" for outcome, count in sorted(verdict.outcomes.items())))
    for title, tests in (("EXPECTED", verdict.explained), ("UNEXPECTED", verdict.unexpected)):
        for test, why in sorted(tests.items()):
            _say(f"{title}  {test}\n    {why}")
    for difference in verdict.gone:
        _say(f"PASSES  {difference.test}\n    strike it from expected.toml: {difference.why}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
