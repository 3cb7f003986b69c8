"""What a process holds, as the operating system counts it."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def peak_kib() -> int:
    """Return the most memory held by this process; getrusage would on Linux answer with its parent's, if larger."""
    return _status("VmHWM") if _STATUS.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_kib() -> int:
    """Return the memory that this process holds now; the most it has held where the system does not say."""
    return _status("VmRSS") if _STATUS.exists() else peak_kib()


def _status(name: str) -> int:
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])
