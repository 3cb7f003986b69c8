"""Payloads rest in an object store that speaks S3: the real driver, and as much of a server as it asks for."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.errors import PayloadMissing, PayloadStoreUnavailable
from streamresults.events.compression import DEFAULT_LIMITS
from streamresults.payload_store.base import fetch, keep
from streamresults.payload_store.remote import RemoteStore

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bucket(BaseHTTPRequestHandler):
    """Keeps what is put under a path, and gives it back, whole or in part."""

    objects: dict[str, bytes]
    refuse = False
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Take an object."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.split(b";")[0], 16)]
        if not self.refuse:
            self.objects[self.path.partition("?")[0]] = body
        self._answer(403 if self.refuse else 200)

    def do_GET(self) -> None:
        """Give an object."""
        body = self.objects.get(self.path.partition("?")[0])
        if body is None or self.refuse:
            missing = b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>"
            self._answer(403 if self.refuse else 404, b"" if self.refuse else missing)
            return
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last) + 1 if last else None]
        self._answer(206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"})

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"1"', "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bucket]]:
    """Give the objects of a server that the driver is told to use by its own variables."""

    class Own(Bucket):
        objects: dict[str, bytes] = {}  # noqa: RUF012 -- a class for each test

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs  # noqa: PLC0415 -- slow

    s3fs.S3FileSystem.clear_instance_cache()
    yield Own
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_payloads_go_to_s3_and_come_back(bucket: type[Bucket]) -> None:
    """Under their hash below the URL; missing and refused are errors of their own."""
    store, body = RemoteStore("s3://bucket/results/"), os.urandom(100_000)
    reference = keep(store, body)
    name = reference.sha256.hex()

    assert f"s3://bucket/results/{name[:2]}/{name}" == reference.uri
    assert {f"/bucket/results/{name[:2]}/{name}": body} == bucket.objects
    assert body == fetch(store, reference, DEFAULT_LIMITS)

    bucket.objects.clear()
    with pytest.raises(PayloadMissing, match="no object s3://bucket/results/"):
        fetch(store, reference, DEFAULT_LIMITS)
    bucket.refuse = True
    with pytest.raises(PayloadStoreUnavailable, match="could not be kept at s3://bucket/results"):
        keep(store, body)
