"""Prints the seconds to a bare producer's first acknowledgement in a forked child. Arguments: bootstrap, topic."""

from __future__ import annotations

import sys

from benchmarks.reference.forked import seconds_in_child
from benchmarks.reference.publish import RawPublisher
from benchmarks.reference.workload import task_ids


def main(bootstrap: str, topic: str) -> None:
    """Measure once and print."""
    print(seconds_in_child(lambda: _first(bootstrap, topic)))


def _first(bootstrap: str, topic: str) -> None:
    RawPublisher(bootstrap, topic).one_by_one(task_ids(1))


if __name__ == "__main__":
    main(*sys.argv[1:])
