"""The compactor as a process, against real Kafka and real Redis: what it prints, signals that end it, and its lag."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.store.base import Descriptor, LiveBatch
from streamresults.store.coverage import FORMAT, GENERATION_BYTES, LiveClaim
from tests import services
from tests.acceptance.conftest import PARTITIONS, PATIENCE, Cli, cli_on

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def test_compactor_drains_once_and_prints_how_far(cli: Cli, task_id: str) -> None:
    """The watermarks are the ends of the partitions, and lag agrees."""
    cli("publish", task_id)
    behind = cli("lag", "--fail-above", "0", "-o", "json")

    drained = cli("compactor", "run", "--once", "-o", "jsonl")
    caught_up = cli("lag", "--fail-above", "0", "-o", "json")

    assert 7 == behind.code
    assert (1, False) == tuple(json.loads(behind.out)["total"][key] for key in ("lag", "complete"))
    assert (0, 1) == (drained.code, sum(row["watermark"] for row in drained.rows))
    assert "compactor stopped" in drained.err
    assert 0 == caught_up.code
    assert (0, True) == tuple(json.loads(caught_up.out)["total"][key] for key in ("lag", "complete"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_compactor_stops_cleanly(cli: Cli, number: signal.Signals) -> None:
    """It commits, leaves its group, says so and exits with 0."""
    with cli.started("compactor", "run", "--log-format", "json") as compactor:
        assert compactor.stderr is not None
        actions = [json.loads(compactor.stderr.readline())["action"]]
        while actions[-1] != "partitions_assigned":
            actions.append(json.loads(compactor.stderr.readline())["action"])
        compactor.send_signal(number)
        actions += [json.loads(line)["action"] for line in compactor.stderr]
        compactor.wait(PATIENCE)

    assert 0 == compactor.returncode
    assert "compactor_started" in actions
    assert ["compactor_stopping", "compactor_stopped"] == actions[-2:]


def test_second_signal_ends_a_compactor_at_once() -> None:
    """The first asks it to stop, the second does not ask."""
    code = (
        "import os, signal\n"
        "from streamresults.cli.compactor import _stopped_by_signals\n"
        "with _stopped_by_signals() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(stop.wait(5), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (130, "True\n") == (ran.returncode, ran.stdout)


def test_lag_is_shown_as_a_table(running: Cli) -> None:
    """A line for each partition, and a total."""
    shown = running("lag")

    assert 0 == shown.code
    assert ["PARTITION", *map(str, range(PARTITIONS)), "total"] == [line.split()[0] for line in shown.out.splitlines()]


def begin_at_the_end(cli: Cli) -> int:
    """Begin views at the end of the log, as a compactor does after a flush; return how much they lack. Nobody fills."""
    inspector, store = cli.wiring.inspector(), cli.wiring.store()
    about = inspector.describe(Deadline(PATIENCE))
    marks = inspector.watermarks(range(PARTITIONS), Deadline(PATIENCE))
    namespace = cli.wiring.namespace(about)
    store.write_descriptor(
        namespace,
        Descriptor(
            cluster_id=about.cluster_id,
            topic=about.topic,
            topic_id=about.topic_id,
            partition_counts=(about.partitions,),
            format=FORMAT,
        ),
    )
    store.view(namespace, about.topic_id).apply(
        [
            LiveBatch(p, LiveClaim(high, high, high, high, low, secrets.token_bytes(GENERATION_BYTES)), ())
            for p, (low, high) in marks.items()
        ]
    )
    inspector.close()
    store.close()
    return sum(high - low for low, high in marks.values())


def test_lag_says_what_is_to_be_filled(cli: Cli, task_id: str) -> None:
    """How much, how fast and how much of the log is covered; as data and for people."""
    cli("publish", task_id)
    left = begin_at_the_end(cli)

    told = json.loads(cli("lag", "-o", "json").out)
    shown = cli("lag").out.splitlines()

    assert {"lag": 0, "to_fill": left, "covered": 0.0, "fill_rate": 0.0, "fill_seconds": None}.items() <= told[
        "total"
    ].items()
    assert left == sum(row["to_fill"] for row in told["partitions"])
    assert f"{left} offsets to back-fill, 0 % of the log covered, standing still" == shown[-1]


def test_lag_watches_until_it_is_interrupted(running: Cli) -> None:
    """One block after the other, with a line between them; Ctrl-C ends it as it ends every command."""
    with running.started("lag", "--watch") as watching:
        assert watching.stdout is not None
        blocks = [[line.split()[0] for line in iter(watching.stdout.readline, "\n")] for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=PATIENCE)

    assert 2 * [["PARTITION", *map(str, range(PARTITIONS)), "total"]] == blocks
    assert 130 == watching.returncode


def test_lag_watches_on_while_a_service_is_away(kafka_bootstrap: str, tmp_path: Path) -> None:
    """That is when it is looked at; what is away is said meanwhile."""
    with (
        closing(services.redis_server()) as redis,
        cli_on(kafka_bootstrap, redis.url, tmp_path) as cli,
        cli.started("lag", "--watch", "-o", "jsonl") as watching,
    ):
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert json.loads(watching.stdout.readline())["end"] == 0
        redis.kill()
        assert "Redis" in watching.stderr.readline()
        cli("publish", "t")  # while it is away, so that no look before shows it
        redis.start()
        assert any(json.loads(line).get("end") == 1 for line in watching.stdout)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=PATIENCE)

    assert watching.returncode == 130


def test_doctor_says_how_long_backfill_takes(cli: Cli, task_id: str) -> None:
    """What is missing, and that nobody is at it."""
    cli("publish", task_id)
    left = begin_at_the_end(cli)

    (finding,) = (row for row in cli("doctor", "-o", "jsonl").rows if row["check"] == "coverage")

    assert "warn" == finding["verdict"]
    assert f"{left} offsets to back-fill, 0 % of the log covered, standing still" in finding["detail"]
