"""
The release kept in tests/previous and these sources work on one topic and one view, in every mixture.

We test these aspects: that it is really the kept release that runs; who publishes, who compacts and who reads, in
every mixture, down to the readers that know Redis alone; waits that the other release's compactor ends; compactors
that are exchanged for the other release's under load, and back, with every acknowledged publish accounted for.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import TYPE_CHECKING

import pytest
import redis

from tests.acceptance.conftest import PATIENCE, logged
from tests.upgrade.conftest import newest_kept
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.upgrade.conftest import Release

MIXTURES = [mixture for mixture in product(("previous", "current"), repeat=3) if len(set(mixture)) > 1]
OUTCOMES = {
    "plain": ("SUCCESS", {"paid": [1, None, "ü"]}),
    "none": ("SUCCESS", None),
    "large": ("SUCCESS", 100_000),
    "twice": ("SUCCESS", 2),
    "started": ("STARTED", None),
    "failed": ("FAILURE", "ValueError('no such order', 7)"),
    "forgotten": ("UNKNOWN", None),
    "never": ("UNKNOWN", None),
}

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]


def test_it_is_the_kept_release_that_runs(previous: Release, current: Release) -> None:
    """Each release's programs import its own package, and say its version."""
    where = "import streamresults.compactor as c, streamresults.store.redis as r; print(c.__file__, r.__file__)"
    installed = previous.python.removesuffix("bin/python")

    assert f"streamresults {newest_kept().name.split('-')[1]}\n" == previous.cli("--version").out
    assert [True, True] == [file.startswith(installed) for file in previous.says(where).split()]
    assert [False, False] == [file.startswith(installed) for file in current.says(where).split()]


@pytest.mark.slow
@pytest.mark.parametrize(("publisher", "compactor", "reader"), MIXTURES)
def test_any_release_reads_what_any_other_made(
    releases: dict[str, Release], publisher: str, compactor: str, reader: str
) -> None:
    """States, results, exceptions, large values and forgotten tasks are the same, whoever wrote and whoever reads."""
    published = releases[publisher].worker("every", "t")
    assert published.code == 0, published
    releases[compactor].compact()
    reading = releases[reader]

    reading.verify()
    looked = reading.worker("lookup", *(f"t-{name}" for name in OUTCOMES)).rows
    by_redis = reading.configured(kafka_bootstrap="").worker("lookup", "t-plain", "t-failed").rows
    waited = reading.cli("wait", "t-plain", "t-failed", "--via", "topic", "-o", "jsonl")
    replayed = reading.cli("replay", "-q", "-o", "jsonl").rows

    assert [{"task_id": f"t-{n}", "state": s, "outcome": o} for n, (s, o) in OUTCOMES.items()] == looked
    assert [looked[0], looked[5]] == by_redis
    assert {"t-plain": "SUCCESS", "t-failed": "FAILURE"} == {row["task_id"]: row["state"] for row in waited.rows}
    assert 10 == len(replayed)
    assert [] == [row for row in replayed if "unreadable" in row]
    assert {"paid": [1, None, "ü"]} == next(row["result"] for row in replayed if row["task_id"] == "t-plain")


@pytest.mark.parametrize("via", ["view", "topic"])
@pytest.mark.parametrize(("waiter", "other"), [("previous", "current"), ("current", "previous")])
def test_a_wait_ends_though_the_others_are_of_another_release(
    releases: dict[str, Release], waiter: str, other: str, via: str
) -> None:
    """A caller is woken by the other release's compactor, and joins the other release's records."""
    waiting = releases[waiter].configured(wait_interval="3600" if via == "view" else "1")
    with (
        releases[other].cli.started("compactor", "run", "--from", "earliest") as compactor,
        waiting.cli.started("wait", "w", "--via", via, "--timeout", "40", "-o", "jsonl") as wait,
    ):
        logged(compactor, "partitions assigned")
        if via == "view":
            eventually(lambda: _is_interested(waiting, "w"), what="the wait has left word that it wants to be told")
        assert 0 == releases[other].cli("publish", "w", "--result", "7").code
        out, err = wait.communicate(timeout=PATIENCE)
        compactor.terminate()

    assert (0, "") == (wait.returncode, err)
    assert ("SUCCESS", 7) == (json.loads(out)["state"], json.loads(out)["result"])


def _is_interested(release: Release, task_id: str) -> bool:
    """Tell whether a wait has left its channel beside a task."""
    settings = release.cli.wiring.settings
    with redis.Redis.from_url(settings.redis_url) as client:
        return bool(list(client.scan_iter(f"{settings.namespace}:*:i:{task_id}", count=1000)))


def joined(release: Release, stack: ExitStack) -> subprocess.Popen[str]:
    """Start a compactor and return once it has partitions."""
    compactor = stack.enter_context(release.cli.started("compactor", "run", "--from", "earliest"))
    assert "[]" not in logged(compactor, "partitions assigned: [")
    return compactor


def leave(compactor: subprocess.Popen[str]) -> None:
    """End a compactor as an upgrade does."""
    compactor.terminate()
    assert 0 == compactor.wait(PATIENCE)


@contextmanager
def loading(release: Release, prefix: str, acknowledged: list[dict[str, object]]) -> Iterator[None]:
    """Publish task after task until the block ends; then add what was acknowledged."""
    with release.worker.started("load", prefix) as worker:
        assert worker.stderr is not None
        assert "publishing\n" == worker.stderr.readline()
        yield
        worker.terminate()
        out, err = worker.communicate(timeout=PATIENCE)
    assert (0, "") == (worker.returncode, err)
    acknowledged += [json.loads(line) for line in out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("previous", "current"), ("current", "previous")])
def test_compactors_are_exchanged_under_load_and_back(releases: dict[str, Release], first: str, second: str) -> None:
    """One joins, the other leaves, and the same the other way round: nothing acknowledged is missing or older."""
    one, two = releases[first], releases[second]
    acknowledged: list[dict[str, object]] = []
    with (
        one.cli.wiring.client() as client,
        ExitStack() as stack,
        loading(one, "a", acknowledged),
        loading(two, "b", acknowledged),
    ):

        def goes_on(now: str) -> None:
            """Wait until the view shows what is published from now on, in every partition."""
            tasks = [f"{now}-{number}" for number in range(20)]
            with one.cli.wiring.publisher() as publisher:
                for task in tasks:
                    publisher.succeeded(task)
            eventually(lambda: all(found.ready for found in client.lookup_many(tasks)), PATIENCE, f"folded: {now}")

        before = joined(one, stack)
        goes_on("before")
        after = joined(two, stack)
        goes_on("both")
        leave(before)
        goes_on("after")
        back = joined(one, stack)
        goes_on("both again")
        leave(after)
        goes_on("back")
        leave(back)
    two.compact()

    with one.cli.wiring.client() as client:
        seen = client.lookup_many([str(at["task_id"]) for at in acknowledged])
    wanted = [(at["task_id"], at["partition"], at["offset"], at["result"]) for at in acknowledged]
    assert wanted == [(f.task_id, f.position.partition, f.position.offset, f.result) for f in seen if f.position]
    assert {"a", "b"} == {found.task_id[0] for found in seen}
    one.verify()
    two.verify()
