"""
A compactor in a process of its own, to be killed and frozen.

Arguments: the settings as JSON, and what to do: ``run`` until SIGTERM, from the log's beginning; ``fill``: the same
from its end, with a back-fill in small chunks, so that much can happen in the middle of it; or ``die`` by SIGKILL
between the script that writes the view and the commit that follows it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from streamresults.compactor import backfill
from streamresults.settings import Settings
from streamresults.topic.kafka_group import KafkaGroup
from streamresults.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Offsets that a test's back-fill reads at once. More and it is over before anything else can happen.
CHUNK = 100


def _die(_group: KafkaGroup, offsets: Mapping[int, int], *, wait: bool) -> None:
    del wait
    if any(offsets.values()):
        print("dying", flush=True)  # noqa: T201 -- told to the test
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    if sys.argv[2] == "die":
        KafkaGroup.commit = _die  # type: ignore[method-assign, assignment]
    if sys.argv[2] == "fill":
        backfill.CHUNK = CHUNK  # type: ignore[misc]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Wiring(settings) as wiring:
        compactor = wiring.compactor(from_earliest=sys.argv[2] != "fill")
        print("running", flush=True)  # noqa: T201
        compactor.run(stop)


if __name__ == "__main__":
    main()
