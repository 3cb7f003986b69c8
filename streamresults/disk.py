"""What a disk has to be asked for, so that files survive a crash of the machine."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def try_directory(path: Path) -> None:
    """
    Make a directory where there is none, and see that files can be made in it.

    Raises:
        OSError: It cannot be used.
    """
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can: a file's own fsync does not cover its name."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
