"""Servers that are started, ended and let go of together."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from server_process import ServerProcess


class ServerGroup(ABC):
    """
    Several servers in one folder.

    Usable as a context manager: entering starts all, leaving closes. The servers are killed when this object is
    collected or the interpreter exits, unless `detach` was called. Not thread-safe.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        """Prepare, without starting anything. Without a folder a temporary one is made, and removed by `close`."""
        made = Path(tempfile.mkdtemp(prefix=f"streamresults-{name}-")) if folder is None else None
        self.folder = made or (folder or Path()).resolve()
        self._remove = weakref.finalize(self, _remove_folder, os.getpid(), made)

    @property
    @abstractmethod
    def processes(self) -> Sequence[ServerProcess]:
        """Return all, in the order in which they are to be ended."""

    @abstractmethod
    def start(self) -> None:
        """Start all and block until they serve. Raise `LocalServicesError` when that fails; then none is left."""

    def stop(self) -> None:
        """End all cleanly and block until they are gone. Keep their data."""
        # All at once: brokers hand over to each other, and the last of three could not do that alone.
        with ThreadPoolExecutor(len(self.processes)) as pool:
            list(pool.map(lambda process: process.stop(), self.processes))

    def kill(self) -> None:
        """Kill all with SIGKILL and block until they are gone. Keep their data."""
        for process in self.processes:
            process.kill()

    def detach(self) -> None:
        """Let all outlive this object and this interpreter, their folder too."""
        self._remove.detach()
        for process in self.processes:
            process.detach()

    def close(self) -> None:
        """Stop all, and remove the folder when it is a temporary one. Harmless when repeated."""
        self.stop()
        self._remove()

    def __enter__(self) -> Self:
        """Start all."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _remove_folder(owner: int, folder: Path | None) -> None:
    if folder is not None and os.getpid() == owner:  # not in a forked child, which inherits the finalizer
        shutil.rmtree(folder, ignore_errors=True)
