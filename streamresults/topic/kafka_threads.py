"""
Holds a fork back while librdkafka's threads are at work, so that a child inherits no lock that one of them holds.

A child has none of its parent's threads, and all of their locks as they were. Its own handles cannot do without two of
them: glibc's, under which a name is resolved, and OpenSSL's, under which a new thread draws its first random number. A
fork while a thread that is connecting holds one leaves a child that never connects, and never ends by itself either.
Neither lock can be asked for. But who holds one of them runs, or waits for a processor; and threads that all sleep, and
go on sleeping, hold none. What is left is a thread that wakes up between the last look and the fork.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

#: Seconds that a fork is held back at most. Smaller lets a fork through on a machine without a processor to spare;
#: larger delays the forks of a process that reads or writes without a pause.
HELD_AT_MOST: Final = 0.5
#: Seconds between two looks: a thread that opens a connection sleeps for shorter times only.
_LOOK_AGAIN: Final = 0.000_5
#: Looks in a row that find nobody at work. Fewer let a fork through while one thread of a new handle starts the next;
#: more make every fork slower.
_LOOKS: Final = 3
#: Linux alone says what a thread does; elsewhere nothing is held back.
_THREADS: Final = Path("/proc/self/task")
#: How librdkafka calls its threads.
_OURS: Final = b"rdk:"
#: Running or waiting for a processor; and inside of the kernel, where a lock of its own is waited for.
_AT_WORK: Final = frozenset({b"R", b"D"})
#: Bytes of a line that holds name and state.
_LINE: Final = 128


def hold_fork() -> None:
    """Return once no thread of librdkafka is at work, or after :data:`HELD_AT_MOST` seconds; called before a fork."""
    give_up = time.monotonic() + HELD_AT_MOST
    quiet = 0
    while quiet < _LOOKS and time.monotonic() < give_up:
        quiet = 0 if _at_work() else quiet + 1
        time.sleep(_LOOK_AGAIN)


def _at_work() -> bool:
    try:
        threads = os.listdir(_THREADS)  # noqa: PTH208 -- names are all that is wanted, and quickly
    except OSError:
        return False
    return any(_works(thread) for thread in threads)


def _works(thread: str) -> bool:
    """Tell whether a thread is librdkafka's and does something; proc(5) has the line: ``id (name) state ...``."""
    try:
        file = os.open(_THREADS / thread / "stat", os.O_RDONLY)
    except OSError:
        return False  # it has ended meanwhile
    try:
        line = os.read(file, _LINE)
    except OSError:
        return False
    finally:
        os.close(file)
    name, _, rest = line.partition(b"(")[2].rpartition(b") ")
    return name.startswith(_OURS) and rest[:1] in _AT_WORK
