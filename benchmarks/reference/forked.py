"""Times something in a child that is forked for it, from a process that has opened nothing yet."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds_in_child(action: Callable[[], None]) -> float:
    """Fork, run ``action`` in the child and return how long it took there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        began = time.perf_counter()
        try:
            action()
            os.write(writing, struct.pack("d", time.perf_counter() - began))
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 8)
    os.waitpid(child, 0)
    os.close(reading)
    seconds: float = struct.unpack("d", answer)[0]
    return seconds
