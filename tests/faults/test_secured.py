"""TLS, client certificates and a user of least rights; and one clear line for every refusal."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import pytest

from streamresults.errors import StoreUnavailable
from streamresults.events.fold import NEVER, Best, event_summary
from streamresults.store.base import BackfillBatch, Descriptor, Interest, LiveBatch, Mark
from streamresults.store.coverage import BackfillClaim, LiveClaim
from streamresults.store.redis import RedisStore
from streamresults.store.value import pack_entry
from tests import services  # noqa: F401 -- puts the local services on the path

# isort: split
from redis_secured import PASSWORD, USER, RedisSecured

from tests.faults.view_load import ENTRY, GENERATION, SOON, TOPIC, batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_replicated import RedisReplicated

pytestmark = pytest.mark.redis


def test_a_user_of_least_rights_can_do_everything(secured: RedisSecured) -> None:
    """Every command that the store sends is in the ACL rule, and nothing was refused."""
    secured.execute("ACL", "LOG", "RESET")
    store = RedisStore(secured.url)
    view, subscription = store.view("ours", TOPIC), store.subscribe("ours:wake")
    one = Descriptor(cluster_id="c", topic="results", topic_id=TOPIC, partition_counts=(12,), format=1)
    mark = Mark(offset=1, reason="r", place="p", keep_until_ms=NEVER)
    store.write_descriptor("ours", one)
    view.look({0: ["a"]}, Interest("ours:wake", 60))
    view.apply([LiveBatch(0, LiveClaim(5, 6, 0, 5, 0, GENERATION), [("a", ENTRY)], [("b", mark)])])
    view.backfill([BackfillBatch(0, BackfillClaim(0, 5, GENERATION), [("c", ENTRY)], [("b", mark)])])
    keep = int(view.look({0: []})[0].now_ms) + 60_000
    view.apply(
        [
            LiveBatch(
                0, LiveClaim(6, 7, 0, 6, 0, GENERATION), [("d", pack_entry(event_summary(Best(4, 6, 1, keep, b""))))]
            )
        ]
    )

    assert ["a"] == [task for _ in range(3) for task in subscription.get(1) or []]
    assert [GENERATION + ENTRY] * 2 == list(view.look({0: ["a", "c"]})[0].values)
    assert (one, ["ours"]) == (store.read_descriptor("ours", "results"), store.namespaces("results"))
    assert ("redis", "noeviction") == (store.ping().split()[0].replace("valkey", "redis"), store.eviction_policy())

    refused = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in secured.ask("ACL", "LOG")]
    assert {b"client|setinfo"} >= {entry[b"object"] for entry in refused}

    subscription.close()
    store.close()


def test_another_namespace_is_refused(secured: RedisSecured) -> None:
    """The message says that it is a permission, and where the rule is."""
    store = RedisStore(secured.url)
    with pytest.raises(StoreUnavailable, match=r"does not permit.*ACL rule"):
        store.view("theirs", TOPIC).apply([batch(0, 0, 1)])
    with pytest.raises(StoreUnavailable, match=r"does not permit.*ACL rule"):
        store.subscribe("theirs:wake")
    store.close()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(f"{USER}:", "nobody:", "refused the login.*user and password", id="unknown user"),
        pytest.param(
            PASSWORD.replace("/", "%2F"), "wrong", "refused the login.*user and password", id="wrong password"
        ),
        pytest.param(f"{USER}:{PASSWORD.replace('/', '%2F')}@", "", "refused the login", id="no login"),
        pytest.param("ssl_ca_certs=", "no_ca=", "ssl_ca_certs=FILE", id="unknown CA"),
        pytest.param("rediss:", "redis:", "Redis", id="no TLS"),
    ],
)
def test_every_refusal_is_one_clear_line(secured: RedisSecured, old: str, new: str, message: str) -> None:
    """A person reads what was refused and what to set; the password is in none of it."""
    url = secured.url.replace(old, new)
    if new == "redis:":
        url = url.partition("?")[0]
    if new == "no_ca=":
        url = "&".join(part for part in url.replace("?", "?&").split("&") if "no_ca" not in part).replace("?&", "?")
    store = RedisStore(url)
    calls: list[Callable[[], object]] = [
        store.ping,
        lambda: store.view("ours", TOPIC).apply([batch(0, 0, 1)]),
        lambda: store.subscribe("ours:x"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=message) as caught:
            call()

        assert "\n" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
    store.close()


def test_a_client_without_a_certificate_is_refused(secured: RedisSecured) -> None:
    """TLS alone does not open a server that asks for certificates."""
    store = RedisStore(f"rediss://{USER}@{secured.address}?ssl_ca_certs={secured.authority}")
    with pytest.raises(StoreUnavailable, match=secured.address):
        store.ping()
    store.close()


def test_sentinels_have_a_login_of_their_own(replicated: RedisReplicated) -> None:
    """Their password stands in the query; without it, or with another one, the line says so."""
    for sentinel in replicated.sentinels:
        sentinel.ask("ACL", "SETUSER", "guest", "on", ">let-me-in", "+@all")
        sentinel.ask("ACL", "SETUSER", "default", "-sentinel")
    login = "&sentinel_username=guest&sentinel_password="
    try:
        store = RedisStore(f"{replicated.url}{login}let-me-in")
        assert store.ping()
        store.close()
        refused = RedisStore(f"{replicated.url}{login}wrong")
        with pytest.raises(StoreUnavailable, match=r"mymaster.*Set sentinel_username and sentinel_password") as caught:
            refused.ping()
        assert len(str(caught.value)) < 300
        refused.close()
    finally:
        for sentinel in replicated.sentinels:
            sentinel.ask("ACL", "SETUSER", "default", "+sentinel")


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_servers_that_are_all_away_are_named(kind: str) -> None:
    """One line with every address, in bounded time, whatever the topology."""
    path = "/mymaster" if kind == "sentinel" else ""
    store = RedisStore(f"redis+{kind}://127.0.0.1:1,127.0.0.1:2{path}")
    view = store.view("ns", TOPIC)
    began = monotonic()
    calls: list[Callable[[], object]] = [
        store.ping,
        lambda: view.apply([batch(0, 0, 1), batch(1, 0, 1)]),
        lambda: store.subscribe("c"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1,127.0.0.1:2 .*Is it running\?$") as caught:
            call()

        assert "\n" not in str(caught.value)
    store.close()

    assert monotonic() - began < SOON / 5
