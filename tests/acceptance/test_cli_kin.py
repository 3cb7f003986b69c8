"""The commands around a task's history and its kin: get --tree --attempts, wait --any/--all, events, forget."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def test_get_shows_tree_and_attempts(running: Cli, task_id: str) -> None:
    """As lines for people, and as data for programs."""
    child = f"{task_id}-child"
    with running.wiring.publisher(worker="w-1") as publisher:
        for state, attempt in (("STARTED", 1), ("RETRY", 1), ("SUCCESS", 2)):
            publisher.send(publisher.event(task_id, state, attempt=attempt, children=(child,), name="shop.charge"))
        publisher.failed_with(child, ValueError("declined"))
    running("get", "--fresh", child)
    shown = running("get", "--fresh", "--tree", "--attempts", task_id)
    (row,) = running("get", "--fresh", "--tree", "--attempts", task_id, "-o", "jsonl").rows

    assert 0 == shown.code
    assert f"{task_id}  SUCCESS  shop.charge\n  {child}  FAILURE" in shown.out
    assert "ATTEMPT" in shown.out
    assert [(task_id, 0, None), (child, 1, task_id)] == [(n["task_id"], n["depth"], n["below"]) for n in row["tree"]]
    assert [(1, "RETRY", 2), (2, "SUCCESS", 1)] == [(a["attempt"], a["state"], a["events"]) for a in row["attempts"]]


def test_progress_and_retries_are_published(running: Cli, task_id: str) -> None:
    """With any value, in a state of any name; a run that failed has an exception, and the task goes on."""
    assert 0 == running("publish", task_id, "--state", "STARTED", "--attempt", "1").code
    assert 0 == running("publish", task_id, "--progress", '{"done": 3}').code
    assert 0 == running("publish", task_id, "--progress", "null", "--state", "PRINTING").code
    (said,) = running("publish", task_id, "--retry", "bank is away", "--attempt", "1", "-o", "jsonl").rows
    shown = running("get", "--fresh", task_id)
    events = running("events", "--no-follow", task_id, "-o", "jsonl").rows
    runs = running("get", "--attempts", task_id, "-o", "jsonl").rows[0]["attempts"]

    assert ("RETRY", task_id) == (said["state"], said["task_id"])
    assert 0 == shown.code, "it has not failed"
    assert "bank is away" in shown.out
    assert [
        ("STARTED", None, None),
        ("PROGRESS", {"done": 3}, None),
        ("PRINTING", None, None),
        ("RETRY", None, {"type": "builtins:Exception", "message": "bank is away"}),
    ] == [(event["state"], event["result"], event["error"]) for event in events]
    assert [(1, "RETRY", 4)] == [(run["attempt"], run["state"], run["events"]) for run in runs]
    assert 4 == running("wait", task_id, "--timeout", "0.5").code


def test_help_tells_what_can_be_published(running: Cli) -> None:
    """Every option in words."""
    told = " ".join(running("publish", "--help").out.split())

    assert "--progress JSON Report how far it is, with any value; it goes on." in told
    assert "--retry MESSAGE This run failed with this message, and another one will follow." in told
    assert "FAILURE with --error, PROGRESS with --progress, RETRY with --retry" in told


def test_one_look_says_what_it_saw(running: Cli, task_id: str) -> None:
    """A timeout of 0 takes it, and blames no service."""
    line = running("wait", task_id, "--timeout", "0").failed_in_one_line(4)

    assert f"task {task_id!r} has not ended after 0 s (it was looked at once)" in line


def test_what_is_known_is_shown_without_kafka(running: Cli, task_id: str) -> None:
    """Attempts stand in the log alone: that line says so, beside the task that the view knows."""
    running("publish", task_id, "--result", "1")
    running("wait", task_id)
    environment = {name: text for name, text in running.environment.items() if "KAFKA" not in name}
    shown = dataclasses.replace(running, environment=environment)("get", "--attempts", task_id)

    assert 2 == shown.code
    assert "SUCCESS" in shown.out
    assert "set kafka_bootstrap" in shown.err


def test_wait_for_any_stops_with_the_first(running: Cli, task_id: str) -> None:
    """And for all, by default, with the last: what has not ended is said in one line."""
    running("publish", task_id, "--result", "1")
    first = running("wait", "--any", f"{task_id}-never", task_id, "-o", "jsonl")
    both = running("wait", "--all", f"{task_id}-never", task_id, "-o", "jsonl", "--timeout", "1")

    assert (0, [task_id]) == (first.code, [row["task_id"] for row in first.rows])
    assert (4, [task_id]) == (both.code, [row["task_id"] for row in both.rows])
    assert f"1 of 2 tasks have not ended after 1 s: '{task_id}-never'" in both.err


def test_events_follow_a_task_to_its_end(running: Cli, task_id: str) -> None:
    """From the first one on; the exit code is that of the end."""
    running("publish", task_id, "--state", "STARTED")
    with running.started("events", task_id, "-o", "jsonl") as following:
        assert following.stdout is not None
        assert "STARTED" in following.stdout.readline()
        running("publish", task_id, "--state", "FAILURE", "--error", "declined")
        out, err = following.communicate(timeout=PATIENCE)

    assert (1, "") == (following.returncode, err)
    assert "FAILURE" in out
    assert ["STARTED", "FAILURE"] == running("events", "--no-follow", "-f", "%s", task_id).out.split()
    whole = json.loads(running("events", task_id, "-o", "json").out)
    assert ["STARTED", "FAILURE"] == [event["state"] for event in whole], "json is one document"


def test_events_of_nobody_exit_with_3(running: Cli, task_id: str) -> None:
    """In one line."""
    assert "no event of task" in running("events", "--no-follow", task_id).failed_in_one_line(3)


def test_forget_writes_tombstones(running: Cli, task_id: str) -> None:
    """And says where they stand; a fresh look finds nothing."""
    running("publish", task_id, "--result", "1")
    (row,) = running("forget", task_id, "-o", "jsonl").rows

    assert task_id == row["task_id"]
    assert row["offset"] > 0
    assert 3 == running("get", "--fresh", task_id).code
