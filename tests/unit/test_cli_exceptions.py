"""
``streamresults exceptions`` on a topic with mixed records, in memory.

We test these aspects: every type with its verdict and the rule that decided; the line that lists the others; the exit
code for CI; what a single name would be told; records that cannot be read do not end it.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from streamresults import wiring as wiring_module
from streamresults.cli.exits import Exit
from streamresults.cli.program import program
from streamresults.deadline import Deadline
from streamresults.events.event import Event, ExceptionNode
from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    Run = Callable[..., Result]


class Listed(Exception):
    """On the allowlist of these tests."""


ALLOW = f"{__name__}:Listed"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the program on a topic that holds one record of each kind."""
    broker = MemoryBroker()
    with Wiring(Settings(), broker=broker, store=MemoryStore()) as wiring:
        create_topics(wiring, 2)
        codec, writer = wiring.codec(), broker.writer("results")
        chain = (
            ExceptionNode(module="builtins", qualname="ValueError", cause=1),
            ExceptionNode(module="shop.errors", qualname="Declined"),
        )
        nodes = {
            "t-1": chain,
            "t-2": chain[1:],
            "t-3": (ExceptionNode(module="os", qualname="system"),),
            "t-4": (ExceptionNode(module="builtins", qualname="SystemExit"),),
            "t-5": (ExceptionNode(module=__name__, qualname="Listed"),),
            "t-6": (ExceptionNode(module="x\x1b[2J", qualname="y" * 2000),),
            "t-7": (),
        }
        for task, exception in nodes.items():
            writer.produce(task.encode(), codec.encode(Event(task_id=task, state="FAILURE", exception=exception)), None)
        writer.produce(b"t-8", b"no record", None)
        assert writer.flush(Deadline(10)) == 0
        writer.close(Deadline(10))
    monkeypatch.setattr(wiring_module, "Wiring", partial(Wiring, broker=broker, store=MemoryStore()))
    monkeypatch.setenv("STREAMRESULTS_ALLOW", ALLOW)
    return lambda *arguments: CliRunner().invoke(program, ["exceptions", *arguments], standalone_mode=False)


def rows(done: Result) -> dict[str, Any]:
    assert done.exception is None
    return {row["type"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_ls_shows_every_type_with_its_verdict_and_its_rule(run: Run) -> None:
    """Causes included; the most frequent first, with a task to look at."""
    found = rows(run("ls", "--output", "jsonl"))
    verdicts = {name: (row["records"], row["verdict"]) for name, row in found.items() if "\x1b" not in name}

    assert {
        "shop.errors:Declined": (2, "not_listed"),
        "builtins:ValueError": (1, "allowed"),
        "os:system": (1, "refused"),
        "builtins:SystemExit": (1, "not_listed"),
        ALLOW: (1, "allowed"),
    } == verdicts
    assert "shop.errors:Declined" == next(iter(found))
    assert "t-2" == found["shop.errors:Declined"]["task_id"]
    assert f"listed by '{ALLOW}'" == found[ALLOW]["rule"]
    assert 6 == len(found)


def test_a_table_holds_no_control_character(run: Run) -> None:
    """Names come from records."""
    done = run("ls")

    assert done.output.replace("\n", "").isprintable()
    assert "shop.errors:Declined" in done.output


def test_check_shows_what_is_not_rebuilt_and_the_line_that_would_list_it(run: Run) -> None:
    """Neither what is listed, nor in that line what never can be."""
    done = run("check", "--output", "jsonl")

    assert {"allowed"}.isdisjoint(row["verdict"] for row in rows(done).values())
    assert 'to list them: allow = ["shop.errors:Declined"]\n' == done.stderr
    assert Exit.OK == done.return_value


def test_ci_fails_on_a_type_that_could_be_listed_and_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And passes once it is listed: what can be on no list is no reason to fail for ever."""
    assert Exit.MISMATCH == run("check", "--fail-on-new").return_value

    listed = type("Declined", (Exception,), {"__module__": "shop.errors"})
    monkeypatch.setattr("streamresults.events.allowlist._BY_CODE", {("shop.errors", "Declined"): listed})
    assert Exit.OK == run("check", "--fail-on-new").return_value


def test_a_range_can_be_stated(run: Run) -> None:
    """What was there before a deployment is no news."""
    assert [] == list(rows(run("ls", "--from", "end", "--output", "jsonl")))


def test_explain_says_the_verdict_the_rule_and_the_line(run: Run) -> None:
    """Of one name or several, without reading the topic."""
    done = run("explain", "builtins:ValueError", "shop.errors:Declined", "os:system", "builtins:SystemExit", "nonsense")

    blocks = done.stdout.split("\n\n")
    assert ["allowed", "not_listed", "refused", "not_listed", "not_listed"] == [
        block.splitlines()[1].split()[-1] for block in blocks
    ]
    assert [False, True, False, False, False] == ["allow = [" in block for block in blocks]
    assert "must never be rebuilt" in blocks[3]
    assert "no class is named so" in blocks[4]


def test_explain_gives_json(run: Run) -> None:
    """For programs."""
    found = rows(run("explain", "shop:E", "--output", "jsonl"))

    assert {
        "type": "shop:E",
        "verdict": "not_listed",
        "rule": "no entry names it",
        "line": 'allow = ["shop:E"]',
    } == found["shop:E"]


def test_without_a_command_it_shows_its_help(run: Run) -> None:
    """As the program itself does."""
    done = run()

    assert Exit.USAGE == done.return_value
    assert "explain" in done.stderr
