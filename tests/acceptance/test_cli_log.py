"""The commands about the log, as processes, against real Kafka and real Redis: tail, replay and verify."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from streamresults.store.keys import Keys
from tests.acceptance.conftest import PARTITIONS, PATIENCE, Cli, append_garbage

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


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


def test_tail_finds_the_members_of_a_group_that_was_never_saved(cli: Cli) -> None:
    """By what their events say: no others, no record of a saved group of that name, and no tombstones."""
    with cli.wiring.publisher() as publisher, cli.wiring.client() as client:
        for task, group in (("a", "g"), ("b", "other"), ("c", "g"), ("d", "")):
            publisher.succeeded(task, group_id=group)
        publisher.save_group("g", ["x"])
        client.forget("b")

    found = cli("tail", "--from", "earliest", "--exit", "--group", "g", "-f", "%i")

    assert {"a", "c"} == set(found.out.split())


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
