"""Keeps payloads as files in a directory that publishers and readers share, such as one on NFS."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamresults.disk import sync_directory
from streamresults.errors import PayloadMissing, PayloadStoreUnavailable
from streamresults.payload_store.base import PayloadStore, object_name

if TYPE_CHECKING:
    from streamresults.events.event import Reference


class DirectoryStore(PayloadStore):
    """
    One file per object, written beside its place, made durable, then renamed into it.

    Args:
        root: The directory; made when the first object is kept.
    """

    def __init__(self, root: str) -> None:
        self._root: Final = Path(root).absolute()

    def put(self, sha256: bytes, body: bytes) -> str:
        """Write the file."""
        path = self._root / object_name(sha256)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, body)
        except OSError as exc:
            msg = f"a payload of {len(body)} bytes could not be kept in {self._root}: {exc}"
            raise PayloadStoreUnavailable(msg) from exc
        return path.as_uri()

    def get(self, reference: Reference) -> bytes:
        """Read the file."""
        path = self._root / object_name(reference.sha256)
        try:
            with path.open("rb") as file:
                return file.read(reference.size + 1)
        except FileNotFoundError as exc:
            msg = f"a payload is not in the payload store: {path} does not exist. It was kept at {reference.uri[:200]}"
            raise PayloadMissing(msg, uri=reference.uri) from exc
        except OSError as exc:
            msg = f"a payload could not be read from {self._root}: {exc}"
            raise PayloadStoreUnavailable(msg) from exc


def _write(path: Path, body: bytes) -> None:
    handle, beside = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o640)  # mkstemp's own 0600 keeps readers of another user out
        Path(beside).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise
    sync_directory(path.parent)
