"""
The commands about tasks, as processes, against real Kafka and real Redis: publish, get, wait and join.

We test these aspects: what stands on stdout; the exit code of every outcome; that an error is one line that says what
to do, without a traceback or a word of the libraries underneath.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import PATIENCE, Cli, Ran, append_garbage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def one(ran: Ran) -> dict[str, Any]:
    """Return the only row of ``-o json``."""
    (row,) = json.loads(ran.out)
    found: dict[str, Any] = row
    return found


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


def test_a_result_in_the_payload_store_is_shown_as_any_other(running: Cli, task_id: str, tmp_path: Path) -> None:
    """Of one that cannot be had it is said why, and where it rests."""
    store = {"STREAMRESULTS_PAYLOAD_STORE": tmp_path.as_uri(), "STREAMRESULTS_PAYLOAD_STORE_ABOVE": "10"}
    storing = replace(running, environment={**running.environment, **store})
    storing("publish", task_id, "--result", '{"text": "much longer than ten"}')

    shown, waited = storing("get", task_id, "-o", "json"), storing("wait", task_id, "-o", "json")
    without = one(running("get", task_id, "-o", "json"))

    assert one(shown)["result"] == one(waited)["result"] == {"text": "much longer than ten"}
    assert set(without["result"]) == {"uri", "size"}
    assert "PayloadStoreNotConfigured" in without["unreadable"]
    followed = storing("replay", "--task-id", task_id, "-o", "jsonl", "-q").rows
    assert [set(row["result"]) for row in followed] == [{"uri", "size"}]
