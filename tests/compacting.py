"""A compactor that runs beside a test."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.wiring import Wiring


@contextmanager
def compacting(wiring: Wiring) -> Iterator[None]:
    """Fold the topic meanwhile, from its beginning."""
    stop = threading.Event()
    compactor = wiring.compactor(from_earliest=True)
    thread = threading.Thread(target=compactor.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
