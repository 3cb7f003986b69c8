"""
Keeps payloads wherever fsspec reaches: S3 and what speaks like it, Google's and Azure's, memory. The only door to it.

Credentials, endpoints and retries are those of fsspec and its driver, by their own variables and files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import fsspec

from streamresults.errors import ConfigurationError, PayloadMissing, PayloadStoreUnavailable
from streamresults.payload_store.base import PayloadStore, object_name

if TYPE_CHECKING:
    from streamresults.events.event import Reference


class RemoteStore(PayloadStore):
    """
    One object per payload. An object store shows it whole or not at all.

    Args:
        url: Where the objects are, such as ``s3://bucket/results``.

    Raises:
        ConfigurationError: No installed driver knows such URLs.
    """

    def __init__(self, url: str) -> None:
        self._url: Final = url.rstrip("/")
        self._protocol: Final = url.partition("://")[0]
        try:
            fsspec.get_filesystem_class(self._protocol)
        except (ValueError, ImportError) as exc:
            msg = f"the payload store {self._url!r} has no driver here: {exc}"
            raise ConfigurationError(msg) from exc

    @property
    def _files(self) -> Any:
        """The driver; fsspec itself keeps one for each thread and process, so none is shared or forked."""
        return fsspec.filesystem(self._protocol)

    def put(self, sha256: bytes, body: bytes) -> str:
        """Write the object."""
        uri = f"{self._url}/{object_name(sha256)}"
        try:
            self._files.pipe_file(uri, body)
        except Exception as exc:  # drivers raise whatever their libraries do
            msg = f"a payload of {len(body)} bytes could not be kept at {self._url}: {type(exc).__name__}: {exc}"
            raise PayloadStoreUnavailable(msg) from exc
        return uri

    def get(self, reference: Reference) -> bytes:
        """Read the object."""
        uri = f"{self._url}/{object_name(reference.sha256)}"
        try:
            body: bytes = self._files.cat_file(uri, end=reference.size + 1)
        except FileNotFoundError as exc:
            msg = f"a payload is not in the payload store: no object {uri}. It was kept at {reference.uri[:200]}"
            raise PayloadMissing(msg, uri=reference.uri) from exc
        except Exception as exc:
            msg = f"a payload could not be read from {self._url}: {type(exc).__name__}: {exc}"
            raise PayloadStoreUnavailable(msg) from exc
        return body
