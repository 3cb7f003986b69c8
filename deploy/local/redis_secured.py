"""A Redis server that speaks TLS alone and knows one user with the least rights; its CA is made here."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ports import HOST
from processes import LocalServicesError
from redis_protocol import ErrorReply, ask
from redis_server import RedisServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

_OPENSSL_SECONDS = 30.0
_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

USER = "streamresults"
# With a character that a URL must escape, as real ones have.
PASSWORD = "local/only"
_ADMIN_PASSWORD = "local-admin"


def acl_rule(namespace: str) -> str:
    """Return what the user of a namespace may do, as ACL SETUSER takes it: all that streamresults needs, no more."""
    return (
        f"~{namespace}:* ~streamresults:views:* &{namespace}:* "
        # The view's scripts, and what they run.
        "+evalsha +script|load +get +mget +set +del +exists +pexpire +pttl +sadd +smembers +publish +time "
        # Wake-ups; what the server is and whether it evicts; what its operator sees of the client. The library's
        # CLIENT SETINFO is refused, as Redis before 7.2 does not know it, and nothing depends on it.
        "+subscribe +unsubscribe +ping +info +client|setname "
        # On a Cluster.
        "+cluster|slots +asking"
    )


class RedisSecured(RedisServer):
    """One server behind TLS, with client certificates and an ACL."""

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        namespace: str = "*",
    ) -> None:
        """Prepare like `RedisServer`; `namespace` is the one that the user may use, by default every one."""
        super().__init__(folder, port, settings)
        self._namespace = namespace

    @property
    def url(self) -> str:
        """Return rediss://user:password@host:port/0 with CA, certificate and key in the query."""
        files = {"ssl_ca_certs": self.authority, "ssl_certfile": self._file("client.crt")}
        query = urlencode({**files, "ssl_keyfile": self._file("client.key")}, safe="/")
        return f"rediss://{USER}:{quote(PASSWORD, safe='')}@{self.address}/0?{query}"

    @property
    def authority(self) -> str:
        """Return the file of the CA's certificate."""
        return self._file("ca.crt")

    def lines(self) -> dict[str, str]:
        """Make the certificates once, and return the lines of redis.conf."""
        if not (self.folder / "client.crt").exists():
            self._make_certificates()
        users = self.folder / "users.acl"
        users.write_text(
            f"user default off\nuser admin on >{_ADMIN_PASSWORD} ~* &* +@all\n"
            f"user {USER} on >{PASSWORD} {acl_rule(self._namespace)}\n"
        )
        return {
            **super().lines(),
            "port": "0",
            "tls-port": str(self.port),
            "tls-ca-cert-file": f'"{self.authority}"',
            "tls-cert-file": f'"{self._file("server.crt")}"',
            "tls-key-file": f'"{self._file("server.key")}"',
            "tls-auth-clients": "yes",
            "aclfile": f'"{users}"',
        }

    def connected(self, within: float) -> socket.socket:
        """Return a connection of the administrator."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self._file("client.crt"), self._file("client.key"))
        connection = context.wrap_socket(super().connected(within), server_hostname=HOST)
        try:
            ask(connection, "AUTH", "admin", _ADMIN_PASSWORD)
        except (OSError, ErrorReply) as error:  # refused, or the server ends just now
            connection.close()
            raise ConnectionError(str(error)) from error
        return connection

    def _file(self, name: str) -> str:
        return str(self.folder / name)

    def _make_certificates(self) -> None:
        authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        files = ("-keyout", self._file("ca.key"), "-out", self.authority)
        _openssl("req", "-x509", *_KEY, "-days", _DAYS, "-subj", "/CN=streamresults local CA", *authority, *files)
        extensions = self.folder / "extensions"
        extensions.write_text(
            f"subjectAltName=IP:{HOST},DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        for name in ("server", "client"):
            request, key = self._file(f"{name}.csr"), self._file(f"{name}.key")
            _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
            signer = ("-CA", self.authority, "-CAkey", self._file("ca.key"), "-CAcreateserial", "-days", _DAYS)
            _openssl(
                "x509", "-req", "-in", request, *signer, "-extfile", str(extensions), "-out", self._file(f"{name}.crt")
            )


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise LocalServicesError("openssl is not on PATH, and a server with TLS needs it to make its certificates")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_OPENSSL_SECONDS, check=False)
    if done.returncode != 0:
        message = f"openssl {arguments[0]} failed:\n{done.stderr}"
        raise LocalServicesError(message)
