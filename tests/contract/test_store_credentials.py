"""A Redis whose login a credential provider gives: named in the URL, handed over, and by Celery's own setting."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis import CredentialProvider

from streamresults.errors import ConfigurationError, StoreUnavailable
from streamresults.store.redis import RedisStore
from tests.celery_desk import closing_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_server import RedisServer

TOKEN = "a-token-of-now"
HERE = __name__


class Tokens(CredentialProvider):
    """Gives the login of a user that the server knows by now."""

    def get_credentials(self) -> tuple[str, str]:
        return "tokened", TOKEN


class Counting(Tokens):
    """Notes how often it is asked, and fails as long as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return super().get_credentials()


class Expired(CredentialProvider):
    """Gives a login that the server does not take."""

    def get_credentials(self) -> tuple[str, str]:
        return "tokened", "a-token-of-yesterday"


@pytest.fixture
def url(server: RedisServer) -> Any:
    """Give a server that knows that user."""
    server.execute("ACL", "SETUSER", "tokened", "on", f">{TOKEN}", "~*", "&*", "+@all")
    yield server.url
    server.execute("ACL", "DELUSER", "tokened")


@pytest.mark.redis
@pytest.mark.parametrize(
    "given",
    [
        lambda: (f"?credential_provider={HERE}:Tokens", None),
        lambda: (f"?credential_provider={HERE}.Tokens", Expired()),  # what the URL says is stronger
        lambda: ("", Tokens()),
        lambda: ("", Tokens),
    ],
    ids=["path", "dotted path", "object", "class"],
)
def test_the_provider_gives_the_login(url: str, given: Callable[[], tuple[str, object]]) -> None:
    query, credentials = given()
    with closing(RedisStore(url + query, credentials)) as store:
        assert store.ping()


@pytest.mark.redis
def test_it_is_asked_again_at_every_connection(url: str, server: RedisServer) -> None:
    provider = Counting()
    with closing(RedisStore(url, provider)) as store:
        assert store.ping()
        server.execute("CLIENT", "KILL", "USER", "tokened")
        assert store.ping()

    assert provider.asked == 2


@pytest.mark.redis
def test_a_login_that_is_refused_says_so(url: str) -> None:
    with closing(RedisStore(url, Expired())) as store, pytest.raises(StoreUnavailable, match="refused the login"):
        store.ping()


@pytest.mark.redis
def test_a_provider_that_fails_is_an_outage_that_ends(url: str) -> None:
    """Whatever it raises: who gives tokens may be away for a moment."""
    provider = Counting(LookupError("no token just now"))
    with closing(RedisStore(url, provider)) as store:
        with pytest.raises(StoreUnavailable, match="Counting gave no login: LookupError: no token just now"):
            store.ping()
        provider.error = None

        assert store.ping()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"redis://user:pw@r?credential_provider={HERE}:Tokens", "a login stands in it beside a credential_provider"),
        (f"redis+sentinel://:pw@r/m?credential_provider={HERE}:Tokens", "a login stands in it beside"),
        ("redis://r?credential_provider=no.such:Provider", "'no.such:Provider' is not there"),
        (f"redis://r?credential_provider={HERE}:Nobody", "is not there"),
        ("redis://r?credential_provider=Tokens", "'Tokens' is not there"),
        ("redis://r?credential_provider=builtins:dict", "is no redis.CredentialProvider"),
    ],
)
def test_what_is_no_provider_is_a_mistake_in_the_url(address: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        RedisStore(address)
    assert "pw" not in str(caught.value)


def test_sentinels_are_not_told_the_login_of_their_servers() -> None:
    """They have one of their own, or none."""
    provider = Counting()
    with closing(RedisStore("redis+sentinel://127.0.0.1:1/m", provider)) as store, pytest.raises(StoreUnavailable):
        store.ping()

    nodes: Any = store._nodes
    (sentinel,) = nodes._sentinels
    assert sentinel.connection_pool.connection_kwargs.get("credential_provider") is None
    assert provider.asked == 0


@pytest.mark.redis
@pytest.mark.parametrize(
    "provider", [f"{HERE}:Tokens", f"{HERE}.Tokens", Tokens, Counting()], ids=["path", "dotted path", "class", "object"]
)
def test_celerys_setting_is_honoured(url: str, provider: object) -> None:
    """As its own backend honours it; the login of its other settings goes."""
    host, port = url.removeprefix("redis://").split("/")[0].split(":")
    with closing_backends():
        app = Celery(backend="streamresults://k:1/t", set_as_current=False)
        app.conf.update(
            redis_backend_credential_provider=provider, redis_host=host, redis_port=int(port), redis_password="none"
        )
        connections = app.backend.connections
        with closing(connections.wiring.store()) as store:
            assert store.ping()

        other = Celery(backend="streamresults://k:1/t", set_as_current=False)
        other.conf.update(app.conf.table(), redis_backend_credential_provider=Expired())
        assert other.backend.connections is not connections
        refused = pytest.raises(StoreUnavailable, match="refused the login")
        with closing(other.backend.connections.wiring.store()) as store, refused:
            store.ping()
    if isinstance(provider, Counting):
        assert provider.asked > 0
