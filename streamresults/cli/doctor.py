"""``streamresults doctor``: look at everything that the guarantees rest on, and say what mends what is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import click

from streamresults.cli.coverage import read_lag
from streamresults.cli.exits import Exit
from streamresults.cli.filling import Filling, FillWatch
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.output import Column, emit_rows
from streamresults.cli.signing import examine
from streamresults.deadline import ANSWER, Deadline
from streamresults.errors import ConfigurationError, ServiceUnavailable, StreamResultsError
from streamresults.settings import unknown_variables
from streamresults.store.descriptor import absent, mismatch
from streamresults.topic.contract import differences, least_retention, mend, wanted_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamresults.cli.coverage import PartitionLag
    from streamresults.store.base import Store
    from streamresults.topic.records import ClusterDescription, TopicDescription
    from streamresults.wiring import Wiring

Verdict = Literal["ok", "warn", "fail"]
#: Above it, every compactor's batch becomes many small ones.
_MANY_PARTITIONS: Final = 128
#: Seconds without a script after which no compactor seems to run: five times their keepalive.
_STALE: Final = 10.0
#: Seconds between the two readings that say how fast back-fill is.
_APART: Final = 1.0
#: Seconds that clocks may differ before times look odd.
_SKEW: Final = 2.0
_OLDEST_REDIS: Final = 7
_COLUMNS: Final = (
    Column("check", "CHECK"),
    Column("verdict", "VERDICT"),
    Column("detail", "DETAIL"),
    Column("mend", "TO MEND"),
)


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str
    #: The command or the change that mends it; empty when nothing is to be mended.
    mend: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, as_json: bool) -> int:
    """
    Check Kafka, the topics, signatures, Redis, coverage and clocks, and say what mends each.

    Exits with 5 when Kafka or Redis is not reachable, with 2 when something else fails, and with 0 otherwise.
    """
    with invocation.wiring() as wiring:
        examined = _Examination(wiring)
        found = list(examined.run())
    rows = [finding._asdict() for finding in found]
    if invocation.output == "table" and not as_json:
        rows = [{**row, "mend": row["mend"] or ""} for row in rows]
    emit_rows(rows, _COLUMNS, "json" if as_json else invocation.output)
    if examined.unreachable:
        return Exit.UNREACHABLE
    return Exit.USAGE if any(finding.verdict == "fail" for finding in found) else Exit.OK


class _Examination:
    """Looks at one thing after the other; what depends on something that is not there is left out."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._about: TopicDescription | None = None
        #: Kafka or Redis did not answer.
        self.unreachable = False

    def run(self) -> Iterator[Finding]:
        """Yield the findings in the order in which they depend on each other."""
        for variable, hint in unknown_variables().items():
            yield Finding("environment", "warn", f"{variable} is no setting{hint}", f"unset {variable}")
        if self._wiring.has_topic:
            yield from self._kafka()
        else:
            yield Finding("kafka", "warn", "not configured: waits go through Redis alone", "set kafka_bootstrap")
        if not self._wiring.has_store:
            yield Finding("redis", "warn", "not configured: waits go through the topic alone", "set redis_url")
            return
        try:
            store = self._wiring.store()
        except ConfigurationError as exc:
            yield Finding("redis", "fail", str(exc), "set redis_url")
            return
        try:
            yield from self._redis(store)
        except ServiceUnavailable as exc:
            self.unreachable = True
            yield Finding("redis", "fail", str(exc), "start Redis, or set redis_url")
        finally:
            store.close()

    # -- Kafka ------------------------------------------------------------------------------------------------------

    def _kafka(self) -> Iterator[Finding]:
        try:
            self._wiring.keyring()
        except ConfigurationError as exc:
            yield Finding("signatures", "fail", str(exc), "set signing_keys and signing_key_id")
            return
        try:
            cluster = self._wiring.broker().cluster(Deadline(ANSWER))
        except ServiceUnavailable as exc:
            self.unreachable = True
            yield Finding("kafka", "fail", str(exc), "start Kafka, or set kafka_bootstrap and the kafka properties")
            return
        except ConfigurationError as exc:
            yield Finding("kafka", "fail", str(exc), "set the kafka properties")
            return
        kind = "one broker" if cluster.brokers == 1 else f"{cluster.brokers} brokers"
        if cluster.embedded:
            kind = "librdkafka's embedded broker"
        yield Finding("kafka", "ok", f"{self._wiring.settings.kafka_bootstrap}: {kind}")
        settings = self._wiring.settings
        partitions = cluster.topics.get(settings.topic, (0, 0))[0]
        wanted = wanted_topics(
            settings,
            cluster.brokers,
            partitions=partitions or 1,
            replication=None,
            retention=least_retention(settings),
        )
        missing = [name for name in wanted if name not in cluster.topics]
        for name in missing:
            yield Finding("topic", "fail", f"{name} does not exist", "streamresults init")
        if settings.topic in missing:
            return
        yield from self._topic_settings(wanted, cluster)
        if partitions > _MANY_PARTITIONS:
            yield Finding("partitions", "warn", f"{partitions}: more than {_MANY_PARTITIONS} make batches small")
        self._about = self._describe()
        yield self._signatures()

    def _signatures(self) -> Finding:
        try:
            return Finding("signatures", *examine(self._wiring))
        except ServiceUnavailable as exc:
            return Finding("signatures", "warn", f"the newest records were not read: {exc}")

    def _topic_settings(self, wanted: dict[str, Any], cluster: ClusterDescription) -> Iterator[Finding]:
        if cluster.embedded:
            yield Finding("topics", "warn", "the embedded broker has no settings of topics to check")
            return
        found = differences(self._wiring.broker(), cluster, wanted)
        for difference in found:
            yield Finding("topic", "fail", str(difference), mend(difference))
        clean = [name for name in wanted if name in cluster.topics and name not in {one.topic for one in found}]
        if clean:
            yield Finding("topics", "ok", f"{', '.join(clean)}: as the guarantees need them")
        if cluster.brokers == 1:
            yield Finding("replication", "warn", "one broker: a lost disk loses results", "run three brokers")

    def _describe(self) -> TopicDescription:
        inspector = self._wiring.inspector()
        try:
            return inspector.describe(Deadline(ANSWER))
        finally:
            inspector.close()

    # -- Redis ------------------------------------------------------------------------------------------------------

    def _redis(self, store: Store) -> Iterator[Finding]:
        version = store.ping()
        name, _, number = version.partition(" ")
        major = number.partition(".")[0]
        if name == "redis" and major.isdigit() and int(major) < _OLDEST_REDIS:
            yield Finding("redis", "fail", f"{version} is too old", "upgrade to Redis 7 or Valkey")
        else:
            yield Finding("redis", "ok", version)
        yield self._eviction(store)
        if self._about is not None:
            yield from self._view(store, self._about)

    def _eviction(self, store: Store) -> Finding:
        policy = store.eviction_policy()
        if policy == "noeviction":
            return Finding("eviction", "ok", "maxmemory-policy noeviction")
        mended = "redis-cli CONFIG SET maxmemory-policy noeviction"
        if policy is None:
            return Finding("eviction", "warn", "Redis does not say its maxmemory-policy", mended)
        if self._wiring.settings.allow_eviction:
            return Finding("eviction", "warn", f"maxmemory-policy {policy}: no miss proves anything", mended)
        return Finding("eviction", "fail", f"maxmemory-policy {policy} would make a miss a lie", mended)

    def _view(self, store: Store, about: TopicDescription) -> Iterator[Finding]:
        namespace = self._wiring.namespace(about)
        start = "streamresults compactor run"
        try:
            descriptor = store.read_descriptor(namespace, about.topic)
        except ServiceUnavailable:
            raise
        except StreamResultsError as exc:
            yield Finding("view", "fail", str(exc), "set namespace")
            return
        if descriptor is None:
            yield Finding("view", "warn", str(absent(store, namespace, about.topic)), start)
            return
        stranger = mismatch(descriptor, namespace, about.cluster_id)
        if stranger is not None:
            yield Finding("view", "fail", *stranger)
            return
        current = descriptor.topic_id == about.topic_id
        detail = f"namespace {namespace}, topic id {descriptor.topic_id}"
        yield Finding("view", "ok" if current else "warn", detail, "" if current else start)
        yield from self._coverage(store, namespace, about)

    def _coverage(self, store: Store, namespace: str, about: TopicDescription) -> Iterator[Finding]:
        inspector = self._wiring.inspector()
        try:
            asked = time.time() * 1000
            view = store.view(namespace, about.topic_id)
            lags = read_lag(inspector, view, about.partitions)
            filling = _filling(lags, lambda: read_lag(inspector, view, about.partitions))
        finally:
            inspector.close()
        uncovered = [one.partition for one in lags if not one.complete]
        if uncovered:
            detail = f"incomplete in partitions {uncovered}: a miss there is NotYetCovered; {filling}"
            yield Finding("coverage", "warn", detail, "a running compactor fills in what is missing, newest first")
        else:
            yield Finding("coverage", "ok", "complete in every partition")
        ages = [one.age for one in lags if one.age is not None]
        behind = sum(one.lag for one in lags)
        if not ages or max(ages) > _STALE:
            age = f"last written {max(ages):.0f} s ago" if ages else "never written"
            yield Finding(
                "compactor",
                "fail",
                f"{behind} behind, {age}: none seems to run, or none reaches Kafka",
                "streamresults compactor run",
            )
        else:
            yield Finding("compactor", "ok", f"{behind} behind, last written {max(ages):.1f} s ago at most")
        skew = max(abs(one.now_ms - asked) / 1000 for one in lags)
        if skew > _SKEW:
            yield Finding("clocks", "warn", f"Redis and this machine differ by {skew:.1f} s", "synchronise the clocks")
        else:
            yield Finding("clocks", "ok", f"Redis and this machine differ by {skew:.1f} s")


def _filling(lags: list[PartitionLag], read_again: Callable[[], list[PartitionLag]]) -> Filling:
    """Return how back-fill gets on; where there is something to fill, from a second reading too."""
    progress = FillWatch()
    found = progress.read(lags, time.monotonic())
    if not found.left:
        return found
    time.sleep(_APART)
    return progress.read(read_again(), time.monotonic())
