"""
The view while its servers are killed, replaced, moved and locked.

We test these aspects: a failover through Sentinel and in a Cluster, by force and in good order, and a slot that moves,
all under load: the load goes on by itself and the view ends equal to a fold; what a half-moved slot answers; wake-ups
over any server; TLS, client certificates and a user of least rights; and one clear line for every refusal.
"""

from __future__ import annotations

import logging
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

import pytest
from redis.crc import key_slot

from streamresults.errors import StoreUnavailable
from streamresults.events.fold import NEVER, Best, Summary, combine, event_summary
from streamresults.store.base import BackfillBatch, Descriptor, Interest, LiveBatch, Mark
from streamresults.store.coverage import BackfillClaim, LiveClaim, Outcome
from streamresults.store.keys import Keys, descriptor_key
from streamresults.store.memory import MemoryStore
from streamresults.store.redis import RedisStore
from streamresults.store.value import pack_entry
from tests import services  # noqa: F401 -- puts the local services on the path
from tests.waiting import eventually

# isort: split
from redis_secured import PASSWORD, USER, RedisSecured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from redis_cluster import RedisCluster
    from redis_replicated import RedisReplicated
    from redis_server import RedisServer

    from streamresults.store.base import Subscription, View

pytestmark = pytest.mark.redis

TOPIC: Final = "topic-id"
PARTITIONS: Final = 12
GENERATION: Final = b"genera-1"
TASKS: Final = [f"t{number}" for number in range(300)]
#: A success, as an entry of a batch.
ENTRY: Final = pack_entry(event_summary(Best(4, 0, 1, NEVER, b"v")))
#: Events in one batch.
BATCH: Final = 25
#: How long a test waits for what must happen. Larger: a failure is told late. Smaller: a busy machine fails.
SOON: Final = 30.0

_log = logging.getLogger(__name__)


@pytest.fixture
def namespace() -> str:
    """Name a part of the store that nobody else uses."""
    return f"topologies-{uuid4().hex}"


@pytest.fixture
def on_sentinel(replicated: RedisReplicated) -> Iterator[RedisStore]:
    """Give a store on the primary that Sentinel names."""
    revive(replicated.servers)
    replicated.wait_ready()
    store = RedisStore(replicated.url)
    yield store
    store.close()


@pytest.fixture
def cluster(cluster_servers: RedisCluster) -> RedisCluster:
    """Give three primaries with a replica each."""
    return cluster_servers


@pytest.fixture
def on_cluster(cluster: RedisCluster) -> Iterator[RedisStore]:
    """Give a store on the Cluster."""
    revive(cluster.servers)
    cluster.wait_ready()
    store = RedisStore(cluster.url)
    yield store
    store.close()


def revive(servers: list[RedisServer]) -> None:
    """Start what a test that failed left behind."""
    for server in servers:
        if not server.is_running():
            server.start()
        server.resume()


def slot_of(namespace: str, partition: int) -> int:
    """Return the slot of a partition's keys."""
    return key_slot(Keys(namespace, TOPIC).coverage(partition).encode())


def batch(partition: int, begin: int, end: int) -> LiveBatch:
    """Return a batch of the log, which is a function of partition and offset."""
    folded: dict[str, Summary] = {}
    for offset in range(begin, end):
        random = Random(f"{partition}.{offset}")
        task, rank = random.choice(TASKS), random.randint(0, 4)
        one = event_summary(Best(rank, offset, offset, NEVER, b"%d" % offset))
        folded[task] = one if task not in folded else combine(folded[task], one)
    entries = [(task, pack_entry(summary)) for task, summary in folded.items()]
    return LiveBatch(partition, LiveClaim(begin, end, 0, begin, 0, GENERATION), entries)


class Load:
    """Folds the log into a view, as fast as it goes, and goes on through every outage."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._position = dict.fromkeys(range(PARTITIONS), 0)
        self._enough = Event()
        self._writer = Thread(target=self._write, name="load")
        self._problem: BaseException | None = None
        #: How often the view was away, how often a partition was sent back, and the last error's text.
        self.outages = 0
        self.rewinds = 0
        self.error = ""
        self._applied_at = dict.fromkeys(range(PARTITIONS), monotonic())
        #: The longest time for which a partition stood still, in seconds.
        self.gaps = dict.fromkeys(range(PARTITIONS), 0.0)

    def __enter__(self) -> Self:
        self._writer.start()
        self.goes_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._enough.set()
        self._writer.join()
        if self._problem is not None:
            raise self._problem
        longest = max(self.gaps.values())
        _log.info("longest gap %.2f s, outages %d, rewinds %d", longest, self.outages, self.rewinds)

    def goes_on(self) -> None:
        """Block until every partition has moved by several batches from where it is now."""
        there = {partition: position + 4 * BATCH for partition, position in self._position.items()}
        eventually(lambda: self._problem or all(self._position[p] >= there[p] for p in there), 30, "the load goes on")

    def check(self) -> None:
        """Compare the view with a fold of the log, done once and without any fault."""
        reference = MemoryStore().view("n", "t")
        # The log's order is all that counts: a fold in larger pieces gives the same bytes.
        reference.apply([batch(p, 0, position) for p, position in self._position.items()])
        wanted = dict.fromkeys(range(PARTITIONS), TASKS)
        expected, actual = reference.look(wanted), self._view.look(wanted)

        for partition in wanted:
            coverage = actual[partition].coverage
            assert coverage is not None
            assert (0, self._position[partition]) == (coverage.start, coverage.watermark)
            assert list(expected[partition].values) == list(actual[partition].values)

    def _write(self) -> None:
        try:
            while not self._enough.is_set():
                self._round()
        except BaseException as exc:  # noqa: BLE001 -- told by the thread that tests
            self._problem = exc

    def _round(self) -> None:
        batches = [
            batch(partition, begin, begin + BATCH)
            for partition, position in self._position.items()
            for begin in (position, position + BATCH)
        ]
        try:
            replies = self._view.apply(batches)
        except StoreUnavailable as exc:
            self.outages += 1
            self.error = str(exc)
            return
        for sent, reply in zip(batches, replies, strict=True):
            self._position[sent.partition] = reply.coverage.watermark
            if reply.outcome is Outcome.APPLIED:
                now = monotonic()
                waited = now - self._applied_at[sent.partition]
                self.gaps[sent.partition] = max(self.gaps[sent.partition], waited)
                self._applied_at[sent.partition] = now
            else:
                self.rewinds += 1


def wakes(store: RedisStore, namespace: str, channel: str, subscription: Subscription, *, offset: int = 0) -> None:
    """Check that a result wakes whoever waits, over the connection that a subscription has now."""
    partition, task = PARTITIONS, f"a{offset}"  # a partition that the load leaves alone
    view = store.view(namespace, TOPIC)
    claim = LiveClaim(offset, offset + 1, 0, offset, 0, GENERATION)
    view.look({partition: [task]}, Interest(channel, 60))
    (reply,) = view.apply([LiveBatch(partition, claim, [(task, ENTRY)])])
    found: list[str] = []

    def heard() -> bool:
        found.extend(subscription.get(0.1) or [])
        return bool(found)

    assert Outcome.APPLIED is reply.outcome
    eventually(heard, SOON, f"a message from {store.where}")
    assert [task] == found


def restored(subscription: Subscription) -> bool:
    """Tell whether a subscription has a connection again, as None says; while nobody is there it raises."""
    try:
        return subscription.get(0.1) is None
    except StoreUnavailable:
        return False


def another(cluster: RedisCluster, primary: RedisServer) -> RedisServer:
    """Return a primary that is not this one."""
    return next(owner for owner in map(cluster.owner_of, range(0, 16384, 1000)) if owner is not primary)


# Sentinel


def test_a_killed_primary_is_replaced_through_sentinel(
    replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str
) -> None:
    """The load goes on with the replica, goes back to what that has, and nothing is missing in the end."""
    view, subscription = on_sentinel.view(namespace, TOPIC), on_sentinel.subscribe(f"{namespace}:wake")
    with Load(view) as load:
        old = replicated.primary
        old.kill()
        replicated.wait_for_another(old)
        load.goes_on()
        eventually(lambda: restored(subscription), SOON, "the loss is told")
        wakes(on_sentinel, namespace, f"{namespace}:wake", subscription)
        old.start()
        replicated.wait_ready()
        load.goes_on()
    subscription.close()

    load.check()
    assert load.outages > 0
    assert "mymaster" in load.error


def test_a_primary_that_becomes_a_replica_is_left(
    replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str
) -> None:
    """A failover in good order: no write goes to the old primary, which answers READONLY now."""
    view = on_sentinel.view(namespace, TOPIC)
    with Load(view) as load:
        for _ in range(2):
            replicated.fail_over()
            load.goes_on()
            replicated.wait_ready()
            load.goes_on()

    load.check()


def test_a_frozen_primary_is_replaced(replicated: RedisReplicated, on_sentinel: RedisStore, namespace: str) -> None:
    """A server that says nothing costs one socket timeout; awake again it is a replica."""
    view = on_sentinel.view(namespace, TOPIC)
    with Load(view) as load:
        old = replicated.primary
        old.pause()
        replicated.wait_for_another(old)
        load.goes_on()
        old.resume()
        replicated.wait_ready()
        load.goes_on()

    load.check()


# Cluster


def test_a_replica_takes_over_in_good_order(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """CLUSTER FAILOVER loses nothing, and the load follows MOVED."""
    view = on_cluster.view(namespace, TOPIC)
    with Load(view) as load:
        for partition in (0, 1, 2):
            cluster.fail_over(slot_of(namespace, partition))
            load.goes_on()

    load.check()


def test_a_killed_primary_is_replaced_in_a_cluster(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Its replica takes over; a subscription that was on it is made again elsewhere."""
    view = on_cluster.view(namespace, TOPIC)
    slot = slot_of(namespace, 0)
    with Load(view) as load:
        old = cluster.owner_of(slot)
        subscription = listening_on(on_cluster, f"{namespace}:wake", old)
        assert cluster.crash(slot) is old
        cluster.wait_for_another(slot, old)
        load.goes_on()
        eventually(lambda: restored(subscription), SOON, "the loss is told")
        wakes(on_cluster, namespace, f"{namespace}:wake", subscription)
        old.start()
        cluster.wait_ready()
        load.goes_on()
    subscription.close()

    load.check()


def listening_on(store: RedisStore, channel: str, server: RedisServer) -> Subscription:
    """Subscribe until the connection, which is to any server, is to this one."""
    while True:
        subscription = store.subscribe(channel)
        if server.ask("PUBSUB", "NUMSUB", channel)[1]:
            return subscription
        subscription.close()


def test_a_slot_moves_under_load(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """Its partition stands still while keys are on both sides, and goes on where they are then."""
    view, slot = on_cluster.view(namespace, TOPIC), slot_of(namespace, 3)
    with Load(view) as load:
        for _ in range(2):
            source = cluster.owner_of(slot)
            target = another(cluster, source)
            assert cluster.move_slot(slot, target) > 0
            assert cluster.owner_of(slot) is target
            load.goes_on()

    load.check()


def test_a_half_moved_slot_holds_up_its_partition_alone(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Its batches are refused for now, in bounded time; batches of other partitions in the same call are applied."""
    view, slot = on_cluster.view(namespace, TOPIC), slot_of(namespace, 3)
    view.apply([batch(3, 0, BATCH), batch(4, 0, BATCH)])
    source = cluster.owner_of(slot)
    target = another(cluster, source)
    cluster.begin_move(slot, target)
    cluster.move_keys(slot, target)
    began = monotonic()
    with pytest.raises(StoreUnavailable, match=r"TryAgain|Ask"):
        view.apply([batch(3, BATCH, 2 * BATCH), batch(4, BATCH, 2 * BATCH)])

    assert monotonic() - began < SOON / 5
    assert 2 * BATCH == view.look({4: []})[4].coverage.watermark  # type: ignore[union-attr]

    while cluster.move_keys(slot, target):
        pass
    cluster.end_move(slot, target)
    replies = view.apply([batch(3, BATCH, 2 * BATCH), batch(4, BATCH, 2 * BATCH)])

    assert [Outcome.APPLIED, Outcome.BEHIND] == [reply.outcome for reply in replies]


def test_one_key_is_read_on_the_side_where_it_is(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """A descriptor whose slot is open is found through ASK."""
    one = Descriptor(cluster_id="c", topic="results", topic_id=TOPIC, partition_counts=(12,), format=1)
    on_cluster.write_descriptor(namespace, one)
    slot = key_slot(descriptor_key(namespace, "results").encode())
    source = cluster.owner_of(slot)
    target = another(cluster, source)
    cluster.begin_move(slot, target)
    while cluster.move_keys(slot, target):
        pass

    assert one == on_cluster.read_descriptor(namespace, "results")

    cluster.end_move(slot, target)

    assert one == on_cluster.read_descriptor(namespace, "results")


def test_scripts_that_one_server_forgot_are_loaded_there(
    cluster: RedisCluster, on_cluster: RedisStore, namespace: str
) -> None:
    """Every call is applied once, on the servers that knew the script too."""
    view = on_cluster.view(namespace, TOPIC)
    view.apply([batch(p, 0, BATCH) for p in range(PARTITIONS)])
    cluster.owner_of(slot_of(namespace, 0)).execute("SCRIPT", "FLUSH")
    replies = view.apply([batch(p, b, b + BATCH) for p in range(PARTITIONS) for b in (BATCH, 2 * BATCH)])

    assert {Outcome.APPLIED} == {reply.outcome for reply in replies}


def test_any_server_of_the_cluster_wakes(cluster: RedisCluster, on_cluster: RedisStore, namespace: str) -> None:
    """What a script publishes on one server arrives at every other one, replicas too."""
    for offset, server in enumerate(cluster.servers):
        channel = f"{namespace}:wake:{offset}"
        subscription = listening_on(on_cluster, channel, server)
        wakes(on_cluster, namespace, channel, subscription, offset=offset)
        subscription.close()


# TLS and ACL


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
