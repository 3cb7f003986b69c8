"""
Every command as a process, against real Kafka and real Redis.

We test these aspects: what stands on stdout; the exit code of every outcome; that an error is one line that says what
to do, without a traceback or a word of the libraries underneath; that signals end a command cleanly.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.deadline import Deadline
from streamresults.store.base import Descriptor, LiveBatch
from streamresults.store.coverage import FORMAT, GENERATION_BYTES, LiveClaim
from streamresults.store.keys import Keys
from streamresults.topic.base import TopicSettings
from tests.acceptance.conftest import PARTITIONS, PATIENCE, Cli, Ran, cli_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def one(ran: Ran) -> dict[str, Any]:
    """Return the only row of ``-o json``."""
    (row,) = json.loads(ran.out)
    found: dict[str, Any] = row
    return found


def append_garbage(cli: Cli, task_id: str) -> None:
    """Append a record that no reader can make sense of."""
    writer = cli.wiring.broker().writer(cli.wiring.settings.topic)
    writer.produce(task_id.encode(), b"garbage", None)
    assert writer.close(Deadline(PATIENCE)) == 0


# -- tasks ------------------------------------------------------------------------------------------------------------


def test_success_is_published_waited_for_and_looked_up(running: Cli, task_id: str) -> None:
    """Exit code 0, the result as data, and the place in the log that publish printed."""
    published = running("publish", task_id, "--result", '{"x": 1}', "--name", "demo.task")
    waited = running("wait", task_id, "-o", "json")
    looked = running("get", task_id, "-o", "json")

    place = one(looked)["position"]
    assert (0, 0, 0) == (published.code, waited.code, looked.code)
    assert published.out.strip() == f"{place['topic']}[{place['partition']}]@{place['offset']}"
    assert ("SUCCESS", {"x": 1}, "demo.task", "full") == tuple(
        one(looked)[key] for key in ("state", "result", "name", "basis")
    )
    assert {"x": 1} == one(waited)["result"]
    assert "" == published.err + waited.err + looked.err


def test_failure_exits_with_1_and_shows_its_exception(running: Cli, task_id: str) -> None:
    """A task that failed is an answer, not an error of the command."""
    running("publish", task_id, "--error", "declined")

    looked = running("get", task_id, "--traceback", "-o", "json")
    waited = running("wait", task_id)

    assert (1, "") == (looked.code, looked.err)
    assert {"type": "builtins:Exception", "message": "declined", "revived": True} == one(looked)["error"]
    assert "Exception: declined" in one(looked)["traceback"]
    assert 1 == waited.code
    assert "Exception: declined" in waited.out


def test_custom_state_is_shown_and_is_no_failure(running: Cli, task_id: str) -> None:
    """PROGRESS with a payload, hidden again when its expiry has passed: here it is far off."""
    running("publish", task_id, "--state", "PROGRESS", "--result", "[50]", "--expires", "1h")

    looked = running("get", "--fresh", task_id, "-o", "jsonl")

    assert 0 == looked.code
    assert ("PROGRESS", [50]) == (looked.rows[0]["state"], looked.rows[0]["result"])


def test_unknown_task_exits_with_3(running: Cli, task_id: str) -> None:
    """UNKNOWN is said only after the view has folded everything that the log holds."""
    looked = running("get", task_id, "-o", "json")

    assert (3, "") == (looked.code, looked.err)
    assert ("UNKNOWN", "full") == (one(looked)["state"], one(looked)["basis"])


def test_several_tasks_exit_with_the_highest_code(running: Cli, task_id: str) -> None:
    """One known and one unknown task: both are shown."""
    running("publish", task_id)

    looked = running("get", "-o", "jsonl", task_id, f"{task_id}-not")

    assert 3 == looked.code
    assert ["SUCCESS", "UNKNOWN"] == [row["state"] for row in looked.rows]


def test_wait_exits_with_4_at_its_deadline(running: Cli, task_id: str) -> None:
    """The line says what was seen and where."""
    line = running("wait", task_id, "--timeout", "500ms").failed_in_one_line(4)

    assert "no record of it was seen" in line


@pytest.mark.parametrize("via", ["topic", "view"])
def test_wait_that_began_first_ends_with_the_publish(running: Cli, task_id: str, via: str) -> None:
    """What is published while somebody waits reaches them, through the topic and through Redis."""
    with running.started("wait", task_id, "--via", via, "--timeout", "30", "-o", "jsonl") as waiting:
        running("publish", task_id, "--result", "7")
        out, err = waiting.communicate(timeout=PATIENCE)

    assert (0, "") == (waiting.returncode, err)
    assert 7 == json.loads(out)["result"]


def test_join_works_without_any_compactor(cli: Cli, task_id: str) -> None:
    """The topic alone is enough to wait on."""
    with cli.started("wait", task_id, "--timeout", "30", "-o", "jsonl") as waiting:
        # Without a view only what is appended after the wait began can be seen: go on until it has.
        while waiting.poll() is None:
            cli("publish", task_id, "--result", "7")
        out, _ = waiting.communicate(timeout=PATIENCE)

    assert 0 == waiting.returncode
    assert (7, "topic") == (json.loads(out)["result"], json.loads(out)["basis"])


def test_miss_without_a_view_is_not_yet_covered(cli: Cli, task_id: str) -> None:
    """Nobody has folded the log, so nobody can say that the task is unknown."""
    cli("publish", task_id)

    line = cli("get", task_id, "--timeout", "0.2").failed_in_one_line(7)

    assert "Is a compactor running?" in line


def test_dead_letter_exits_with_8_and_names_its_reason(running: Cli, task_id: str) -> None:
    """A record of the task cannot be read: the command says why and where its bytes are."""
    append_garbage(running, task_id)

    waited = running("wait", task_id, "-o", "json")
    looked = running("get", task_id)

    assert 8 == waited.code
    assert "BadMagic" in one(waited)["dead_letter"]["reason"]
    assert 8 == looked.code
    assert f"{running.wiring.settings.dead_letter_topic}[0]@" in looked.out


def test_what_a_task_wrote_cannot_steer_the_terminal(running: Cli, task_id: str) -> None:
    """Control characters are shown as escapes."""
    running("publish", task_id, "--error", "\x1b[2J\x9b31m\nsecond line")

    looked = running("get", "--fresh", task_id)

    assert "\\x1b[2J\\x9b31m\\nsecond line" in looked.out


# -- the log ----------------------------------------------------------------------------------------------------------


def test_tail_shows_what_was_asked_for(cli: Cli) -> None:
    """Filters, kcat's tokens, and JSON lines; tombstones and unreadable records too."""
    cli("publish", "a", "--result", '"text"', "--name", "demo.a")
    cli("publish", "b", "--error", "declined")
    append_garbage(cli, "c")
    with cli.wiring.client() as client:
        client.forget("a")

    formatted = cli("tail", "--from", "earliest", "--exit", "--task", "demo.a", "-f", r"%i|%n|%s|%r|%%|%o\t.")
    failures = cli("tail", "--from", "earliest", "--exit", "--state", "FAILURE", "-o", "jsonl")
    everything = cli("tail", "--from", "earliest", "--exit", "-o", "jsonl")

    assert 'a|demo.a|SUCCESS|"text"|%|0\t.\n' == formatted.out
    assert ["b"] == [row["task_id"] for row in failures.rows]
    assert {("a", "SUCCESS"), ("a", "FORGOTTEN"), ("b", "FAILURE")} == {
        (row["task_id"], row["state"]) for row in everything.rows
    }
    assert "BadMagic" in everything.err


def test_tail_follows_until_interrupted(cli: Cli) -> None:
    """What is published after it began arrives; Ctrl-C ends it with 130 and without a word."""
    with cli.started("tail", "--from", "earliest", "-f", "%i") as following:
        cli("publish", "late")
        assert following.stdout is not None
        assert "late\n" == following.stdout.readline()
        following.send_signal(signal.SIGINT)
        out, err = following.communicate(timeout=PATIENCE)

    assert (130, "", "") == (following.returncode, out, err.strip())


def test_replay_reads_a_range_and_says_what_it_covered(cli: Cli) -> None:
    """Data on stdout, coverage on stderr."""
    for task in ("a", "b", "a"):
        cli("publish", task, "--state", "PROGRESS")

    everything = cli("replay", "-o", "jsonl")
    only_a = cli("replay", "--task-id", "a", "-o", "jsonl", "-q")
    nothing = cli("replay", "--from", "end")

    assert (0, 0, 0) == (everything.code, only_a.code, nothing.code)
    assert ["a", "a", "b"] == sorted(row["task_id"] for row in everything.rows)
    assert PARTITIONS + 1 == len(everything.err.splitlines())
    assert "RECORDS" in everything.err
    assert (["a", "a"], "") == ([row["task_id"] for row in only_a.rows], only_a.err)
    assert "" == nothing.out


def test_verify_finds_the_view_true_and_then_not(cli: Cli, task_id: str) -> None:
    """Exit code 0 while Redis is the fold of the log, 6 once somebody has changed it."""
    place = json.loads(cli("publish", task_id, "-o", "jsonl").out)["position"]
    assert 0 == cli("compactor", "run", "--once").code
    clean = cli("replay", "--verify", "-o", "jsonl")
    store: Any = cli.wiring.store()
    keys = Keys(cli.wiring.settings.namespace, place["topic_id"])
    assert 1 == store._nodes.each()[0].delete(keys.value_prefix(place["partition"]) + task_id)
    store.close()

    broken = cli("replay", "--verify", "-o", "jsonl", "-q")

    assert (0, "") == (clean.code, clean.out)
    assert "verify: 1 match, 0 differ" in clean.err
    assert (6, task_id, "missing") == (broken.code, broken.rows[0]["task_id"], broken.rows[0]["kind"])
    assert 1 == len(broken.err.splitlines())


# -- the view ---------------------------------------------------------------------------------------------------------


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


def test_doctor_says_how_long_backfill_takes(cli: Cli, task_id: str) -> None:
    """What is missing, and that nobody is at it."""
    cli("publish", task_id)
    left = begin_at_the_end(cli)

    (finding,) = (row for row in cli("doctor", "-o", "jsonl").rows if row["check"] == "coverage")

    assert "warn" == finding["verdict"]
    assert f"{left} offsets to back-fill, 0 % of the log covered, standing still" in finding["detail"]


# -- set-up -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Give commands on topics that do not exist yet."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path, topics=False) as found:
        yield found


def test_init_creates_topics_that_doctor_finds_right(bare: Cli) -> None:
    """A dry run creates nothing, a second run changes nothing, and what differs is said."""
    missing = bare("doctor", "--json")
    dry = bare("init", "--partitions", "2", "--dry-run", "-o", "json")
    still_missing = bare("doctor", "--json")
    made = bare("init", "--partitions", "2", "-o", "json")
    again = bare("init", "--partitions", "5", "-o", "json")
    right = bare("doctor", "--json")

    assert (2, 2) == (missing.code, still_missing.code)
    assert "streamresults init" in {finding["mend"] for finding in json.loads(missing.out)}
    assert {"would be created"} == {row["did"] for row in json.loads(dry.out)}
    assert {"created"} == {row["did"] for row in json.loads(made.out)}
    assert {"exists, left as it is"} == {row["did"] for row in json.loads(again.out)}
    assert "partitions 2, wanted 5" in again.err
    verdicts = {finding["check"]: finding["verdict"] for finding in json.loads(right.out)}
    assert (0, "ok", "ok") == (right.code, verdicts["topics"], verdicts["redis"])
    assert "fail" not in verdicts.values()


def test_doctor_says_what_mends_a_topic(bare: Cli) -> None:
    """A setting that breaks a promise is named with the command that mends it, and the compactor refuses to run."""
    wrong = TopicSettings(partitions=1, config={"message.timestamp.type": "CreateTime"})
    bare.wiring.broker().create_topics({bare.wiring.settings.topic: wrong}, Deadline(30))
    examined = bare("doctor", "-o", "jsonl")
    refused = bare("compactor", "run", "--once")

    assert 2 == examined.code
    mends = [row["mend"] for row in examined.rows if row["check"] == "topic" and row["verdict"] == "fail"]
    assert any("--add-config message.timestamp.type=LogAppendTime" in mend for mend in mends)
    assert "message.timestamp.type CreateTime, wanted LogAppendTime" in refused.failed_in_one_line(2)


def test_doctor_finds_a_running_compactor(running: Cli) -> None:
    """Coverage, lag and clocks are looked at when there is a view."""
    examined = running("doctor", "-o", "jsonl")

    verdicts = {row["check"]: row["verdict"] for row in examined.rows}
    assert ("ok", "ok", "ok", "ok") == tuple(verdicts[key] for key in ("view", "coverage", "compactor", "clocks"))


def test_doctor_names_variables_that_are_no_settings(running: Cli) -> None:
    """Others may have set them, so everything else is looked at all the same."""
    environment = {**running.environment, "STREAMRESULTS_KAFKA_SASL_USERNAME": "me"}
    examined = Cli(environment, running.folder, running.wiring)("doctor", "-o", "jsonl")

    (finding,) = (row for row in examined.rows if row["check"] == "environment")
    assert (0, "warn") == (examined.code, finding["verdict"])
    assert "STREAMRESULTS_KAFKA_SASL_USERNAME is no setting" in finding["detail"]
    assert "two underscores" in finding["detail"]


def test_doctor_exits_with_5_when_a_service_is_away(running: Cli) -> None:
    """The other service is examined all the same."""
    no_kafka = running("doctor", "-b", NOWHERE, "-o", "jsonl")
    no_redis = running("doctor", "--redis", f"redis://{NOWHERE}", "-o", "jsonl")

    assert (5, 5) == (no_kafka.code, no_redis.code)
    assert {"kafka": "fail", "redis": "ok"}.items() <= {r["check"]: r["verdict"] for r in no_kafka.rows}.items()
    assert {"kafka": "ok", "redis": "fail"}.items() <= {r["check"]: r["verdict"] for r in no_redis.rows}.items()
