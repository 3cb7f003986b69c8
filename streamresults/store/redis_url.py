"""The Redis URL as servers to talk to: one, those behind Sentinel, or a Cluster; opening one connects to nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from streamresults.errors import ConfigurationError
from streamresults.store.redis_credentials import OPTION, Credentials
from streamresults.store.redis_nodes import Address, Cluster, Nodes, OneServer, Replicated

#: Seconds until a connection that says nothing counts as lost. Smaller takes a slow script for an outage; larger keeps
#: every waiter in the dark for as long.
SOCKET_TIMEOUT: Final = 2.0

#: Connections to one server, unless the URL says otherwise. Its own limit would be an error for the thread that comes
#: after it; how many are open is decided by how many calls are made at once.
_CONNECTIONS: Final = 2**31

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
#: What is for the servers of a primary alone, and not for its sentinels.
_OF_SERVERS: Final = ("username", "password", "db", OPTION)
_OF_MANY: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<login>[^/?]*@)?(?P<hosts>[^/?@]+)"
    r"(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)


def open_nodes(url: str, credentials: object = None) -> Nodes:
    """
    Return the servers that a URL names.

    - ``redis://user:password@host:6379/0``: one server; ``unix://`` and a path likewise.
    - ``redis+sentinel://user:password@host:26379,host2:26379/mymaster?db=0&sentinel_password=...``: the primary that
      the sentinels name; the login is for the servers, ``sentinel_username`` and ``sentinel_password`` for the
      sentinels.
    - ``redis+cluster://user:password@host:6379,host2:6379``: a Cluster, found through any of these servers.

    ``rediss`` instead of ``redis`` is TLS: ``ssl_ca_certs=FILE`` names the CA where the system does not know it,
    ``ssl_certfile`` and ``ssl_keyfile`` are the client's own. Whatever else redis-py's connections take by name may
    stand in the query too.

    Args:
        credentials: A ``CredentialProvider`` of redis-py's, or a class of them, for a URL that has no
            ``credential_provider=package.module:Class`` in its query. Sentinels are not told what it gives.

    Raises:
        ConfigurationError: The URL is none, names a file or a class that is not there, or has a login beside a
            provider.
    """
    try:
        many = _OF_MANY.fullmatch(url)
        if many is None:
            return _one_server(_connection(url, credentials))
        login, hosts, query = many["login"] or "", many["hosts"], dict(parse_qsl(many["query"] or ""))
        of_sentinels = {name: query.pop(name) for name in list(query) if name.startswith("sentinel_")}
        # The names of many servers are not for the library: to it the rest is the URL of one.
        connection = _connection(f"{many['scheme']}://{login}host?{urlencode(query)}", credentials)
        if many["kind"] == "cluster":
            return _cluster(connection, _addresses(hosts, _PORT), many["path"])
        return _replicated(
            connection, _addresses(hosts, _SENTINEL_PORT), unquote(many["path"] or "").strip("/"), of_sentinels
        )
    except (ValueError, TypeError, redis.RedisError) as exc:  # the last: a value of TLS that the library does not know
        msg = f"the Redis URL cannot be read: {exc}"
        raise ConfigurationError(msg) from exc


def _connection(url: str, credentials: object) -> dict[str, Any]:
    """Return the arguments of a connection, which the library would otherwise check only when it connects."""
    arguments: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        # Off: what is tried again, and for how long, is decided in one place, and the library's tries would multiply.
        "retry": Retry(NoBackoff(), 0),
        "client_name": "streamresults",
        "connection_class": redis.Connection,
        "max_connections": _CONNECTIONS,
        **parse_url(url),  # type: ignore[no-untyped-call]  # as shipped
    }
    provider = arguments.pop(OPTION, None) or credentials
    if provider is not None:
        if arguments.get("username") or arguments.get("password"):
            msg = f"a login stands in it beside a {OPTION}: one of them has to go"
            raise ValueError(msg)
        arguments[OPTION] = Credentials(provider)
    for name in _FILES:
        file = arguments.get(name)
        if file is not None and not Path(file).exists():
            msg = f"{name} names {file}, and there is no such file"
            raise ValueError(msg)
    return _checked(arguments)


def _checked(connection: dict[str, Any]) -> dict[str, Any]:
    """Make a connection that is never used: it refuses a misspelt option with TypeError."""
    known = {name: value for name, value in connection.items() if name not in ("connection_class", "max_connections")}
    connection["connection_class"](**known)
    return connection


def _client(connection: dict[str, Any], address: Address) -> redis.Redis:
    host, port = address
    return redis.Redis(connection_pool=redis.ConnectionPool(**{**connection, "host": host, "port": port}))


def _one_server(connection: dict[str, Any]) -> Nodes:
    client = redis.Redis(connection_pool=redis.ConnectionPool(**connection))
    where = connection.get("path") or f"{connection.get('host', 'localhost')}:{connection.get('port', _PORT)}"
    return OneServer(client, str(where))


def _cluster(connection: dict[str, Any], seeds: list[Address], path: str | None) -> Nodes:
    if path not in (None, "", "0") or connection.get("db", 0) != 0:
        msg = "a Cluster has database 0 alone"
        raise ValueError(msg)
    return Cluster(lambda address: _client(connection, address), seeds)


def _replicated(connection: dict[str, Any], seeds: list[Address], primary: str, login: dict[str, str]) -> Nodes:
    if not primary:
        msg = "the primary's name stands behind the hosts, such as redis+sentinel://host:26379/mymaster"
        raise ValueError(msg)
    own = {name: value for name, value in connection.items() if name not in _OF_SERVERS}
    own |= {name.removeprefix("sentinel_"): value for name, value in login.items()}
    sentinel = Sentinel([])  # type: ignore[no-untyped-call]  # as shipped
    sentinel.sentinels = [_client(_checked(own), address) for address in seeds]
    servers = {name: value for name, value in connection.items() if name not in ("connection_class", "host")}
    secure = issubclass(connection["connection_class"], redis.SSLConnection)
    pool = SentinelConnectionPool(primary, sentinel, ssl=secure, **servers)  # type: ignore[no-untyped-call]  # as shipped
    where = ",".join(f"{host}:{port}" for host, port in seeds)
    return Replicated(redis.Redis(connection_pool=pool), sentinel.sentinels, f"{primary} behind {where}")


def _addresses(hosts: str, port: int) -> list[Address]:
    found = []
    for host in hosts.split(","):
        split = urlsplit(f"//{host}")
        if not split.hostname:
            msg = f"{host!r} is no host"
            raise ValueError(msg)
        found.append((split.hostname, split.port or port))
    return found
