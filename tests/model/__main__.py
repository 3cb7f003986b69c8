"""Explores everything: ``python -m tests.model``, or one kind alone: ``python -m tests.model join``."""

from __future__ import annotations

import sys

from tests.model.explore import CAP, explore
from tests.model.planted import PLANTED
from tests.model.runs import LONG, SHORT, run_all, told


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Explore the runs whose names begin with one of these, all if there are none; return the exit code."""
    runs = [run for run in SHORT + LONG if not names or run.name.startswith(tuple(names))]
    _say(f"every interleaving within the stated bounds, at most {CAP:,d} states each (STREAMRESULTS_MODEL_STATES)\n")
    violated, unfinished = run_all(tuple(runs), _say, explore)
    missed = 0
    if not names:
        _say("\nfaults planted on purpose, each of which must be found:")
        for fault in PLANTED:
            found = explore(fault.faulty)
            _say(told(fault.name, found).replace("VIOLATED", "found   ").replace("holds   ", "MISSED  "))
            missed += found.finding is None
    _say(
        f"\n{len(runs)} runs, {violated} promises violated, {unfinished} not exhaustive, {missed} planted faults missed"
    )
    return 1 if violated or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
