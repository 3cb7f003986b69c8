"""Runs the rows named on the command line, or all of them; prints one table and writes ``results/latest.json``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from benchmarks import (
    awaiting,
    backfilling,
    celery_rows,
    celery_workers,
    compacting,
    exceptions,
    groups,
    idling,
    joining,
    looking,
    many_waits,
    publishing,
    report,
    signing,
    starting,
    waiting,
)
from benchmarks.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.measure import Row

_FAMILIES: Final = (
    publishing,
    starting,
    compacting,
    backfilling,
    waiting,
    many_waits,
    awaiting,
    idling,
    looking,
    groups,
    joining,
    exceptions,
    signing,
    celery_rows,
    celery_workers,
)
_NAMES: Final = tuple(name for family in _FAMILIES for name in family.NAMES)


def main(named: Sequence[str]) -> int:
    """Measure and report; return the exit code."""
    unknown = sorted(set(named) - set(_NAMES))
    if unknown:
        print(f"no such row: {', '.join(unknown)}; rows: {', '.join(_NAMES)}", file=sys.stderr)
        return 2
    wanted = set(named or _NAMES)
    rows: list[Row] = []
    with Bench() as bench:
        services = bench.versions()
        try:
            for family in _FAMILIES:
                if wanted & set(family.NAMES):
                    rows.extend(_told(family.rows(bench, wanted)))
        finally:
            print(report.table(rows))
            report.write(rows, services)
    return 0


def _told(rows: Iterable[Row]) -> Iterator[Row]:
    """Say on standard error what has been measured, as it takes minutes."""
    for row in rows:
        print(f"{row.name} measured", file=sys.stderr, flush=True)
        yield row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
