"""Prints the seconds to our first acknowledgement in a forked child. Argument: the settings as JSON."""

from __future__ import annotations

import sys

import msgspec

import streamresults.events.payloads
import streamresults.topic.kafka
import streamresults.topic.schemas  # noqa: F401 -- imported before the clock starts, as the reference's libraries are
from benchmarks.bench import event
from benchmarks.reference.forked import seconds_in_child
from benchmarks.reference.workload import task_ids
from streamresults.settings import Settings
from streamresults.wiring import Wiring


def main(settings: str) -> None:
    """Measure once and print."""
    told = msgspec.json.decode(settings, type=Settings)
    print(seconds_in_child(lambda: _first(told)))


def _first(settings: Settings) -> None:
    publisher = Wiring(settings).publisher()
    publisher.publish(event(publisher, task_ids(1)[0], 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
