"""
Every hostile record, in front of everything that reads records. We test these aspects.

* each gives exactly the outcome that the corpus says: decoded, folded, looked up, waited for, replayed, on the CLI
* none imports, opens, starts, connects or runs anything, and none takes long or much memory
* the good record behind each is read as if nothing were beside it
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
import types
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from click.testing import CliRunner

from streamresults import wiring as wiring_module
from streamresults.cli.program import program
from streamresults.errors import DeadLettered, RecordError, StreamResultsError, WaitTimeout
from streamresults.events.codec import Codec
from streamresults.events.event import Event
from streamresults.events.states import is_terminal
from tests.hostile.building import Hostile, corpus
from tests.hostile.detectors import watched
from tests.hostile.traps import SPRUNG
from tests.hostile.world import GOOD, RECORD_MAX, SOON, World, outcome_of
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.client import Registration

CORPUS: Final = corpus()
#: Outcome of a record that no caller can ask for, as its key is no task id.
NOBODYS: Final = "nobody's"
ASKED: Final = [(number, record) for number, record in enumerate(CORPUS) if record.outcome != NOBODYS]
#: Those whose wait has one end: a result that is about to expire is there for who is quick enough.
WAITED: Final = [(number, record) for number, record in ASKED if record.outcome != "UnknownTask"]
#: Bytes that reading one record may take at its worst: the largest record, and what is built of it.
MEMORY_MAX: Final = 64_000_000


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give the topic with every record, folded."""
    made = World(CORPUS)
    made.publish()
    made.compact()
    sys.modules |= {"tests.hostile.nothing": None, "tests.hostile.lazy": Lazy("tests.hostile.lazy")}  # type: ignore[dict-item]
    yield made
    made.close()
    del sys.modules["tests.hostile.nothing"], sys.modules["tests.hostile.lazy"]


class Lazy(types.ModuleType):
    """A module that loads itself when somebody looks into it."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        SPRUNG.append("lazy module: __dict__")
        return {}

    def __getattr__(self, name: str) -> Any:
        SPRUNG.append(f"lazy module: {name}")
        raise AttributeError(name)


def test_the_corpus_is_large_and_says_what_each_record_is_for() -> None:
    """At least 200 records; no two have one sentence, one task or one value."""
    assert len(CORPUS) >= 200
    for what in ("attack", "task_id", "value"):
        assert len(CORPUS) == len({getattr(record, what) for record in CORPUS}), what


@pytest.mark.parametrize("record", CORPUS, ids=lambda record: record.attack)
def test_the_codec_gives_an_event_or_its_typed_error(record: Hostile) -> None:
    """Nothing else comes out, and no more memory is taken than a record may."""
    codec = Codec(record_max=RECORD_MAX)
    codec.decode(Codec().encode(_good()))
    tracemalloc.start()
    try:
        actual = type(codec.decode(record.value)).__name__
    except RecordError as exc:
        actual = type(exc).__name__
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert record.codec == actual
    assert peak < MEMORY_MAX


def test_no_record_runs_anything_wherever_it_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compactor, lookup, wait, replay and CLI, with imports, files, sockets, processes and traps watched."""
    _everything(world, monkeypatch)  # what Python itself loads for the first time
    with watched() as noticed:
        _everything(world, monkeypatch)

    assert [] == noticed


def _everything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.compact()
    with world.client() as client:
        for _, record in ASKED:
            outcome_of(client.lookup(record.task_id), printed=True)
    with world.wiring.replay() as replay:
        list(replay.read())
    _on_the_command_line(world, monkeypatch, "tail", "--from", "earliest", "--exit")


def test_the_detectors_notice() -> None:
    """A detector that has never gone off proves nothing."""
    with watched() as noticed:
        __import__("this")
        del sys.modules["this"]  # records name it, as a module that is not loaded
        open(os.devnull, "rb").close()  # noqa: PTH123
        from tests.hostile import traps  # noqa: PLC0415

        traps.Trap(code=1)
        getattr(traps, "made_up", None)

    for expected in ("import this", f"open({os.devnull!r}", "Trap: __new__", "Trap: __init__", "module __getattr__"):
        assert any(expected in one for one in noticed), expected


def test_a_lookup_of_each_gives_what_the_corpus_says(world: World) -> None:
    """The compactor folded it or wrote a dead letter; the caller gets the value or the error."""
    with world.client() as client:
        found = [client.lookup(record.task_id) for _, record in ASKED]
        actual = [("dead letter" if one.mark else "folded", outcome_of(one)) for one in found]

    assert [(r.attack, r.compactor, r.outcome) for _, r in ASKED] == [
        (r.attack, *one) for (_, r), one in zip(ASKED, actual, strict=True)
    ]


def test_what_is_nobody_s_is_a_dead_letter(world: World) -> None:
    """A record whose key is no task id is kept with its reason, and marks no task."""
    letters = world.broker._cluster.topics["results.dlq"].partitions

    assert len([record for part in letters for record in part.records]) >= sum(
        record.compactor == "dead letter" for record in CORPUS
    )


def test_the_good_record_behind_each_is_read(world: World) -> None:
    """One bad record affects its own task alone."""
    with world.client() as client:
        found = client.lookup_many([world.neighbour(number) for number in range(len(CORPUS))])

    assert [GOOD] * len(CORPUS) == [one.result for one in found]


@pytest.mark.parametrize("via", ["topic", "view"])
def test_who_waits_for_it_gets_the_same_and_his_neighbour_his_result(via: str) -> None:
    """Waits that stood before anything was published all end as the corpus says; none ends another."""
    made = World(CORPUS)
    ends: dict[str, Registration] = {}
    with made.client() as client:
        tasks = [record.task_id for _, record in WAITED] + [made.neighbour(number) for number in range(len(CORPUS))]
        standing = {
            task: client.on_result(task, lambda end: ends.update({end.task_id: end}), via=via)  # type: ignore[arg-type]
            for task in tasks
        }
        made.publish()
        made.compact()
        expected = {record.task_id: record.outcome for _, record in WAITED if _ends(record)}
        expected |= {made.neighbour(number): "value" for number in range(len(CORPUS))}
        eventually(lambda: expected.keys() <= ends.keys(), SOON, f"{expected.keys() - ends.keys()} ended")
        actual = {task: outcome_of(ends[task].result()) for task in expected}
        left = {task for task in standing if task not in ends}
    made.close()

    assert expected == actual
    assert {record.task_id for _, record in WAITED if not _ends(record)} == left


def _ends(record: Hostile) -> bool:
    """Tell whether a wait for this record can end: it is a dead letter, or its state is an end."""
    if record.compactor == "dead letter":
        return True
    prefix = Codec().decode_prefix(record.value)
    return is_terminal(prefix.state, terminal=prefix.terminal)


def test_replay_reads_on_behind_each(world: World) -> None:
    """Every record is handed out, an unreadable one with its typed error, and the good ones between them."""
    with world.wiring.replay() as replay:
        found = list(replay.read())

    assert 2 * len(CORPUS) == len(found)
    assert all((one.event is None) is (one.error is not None) for one in found)
    read = {one.task_id for one in found if one.event is not None}
    assert {r.task_id for _, r in ASKED if r.codec == "Event" and r.compactor == "folded"} <= read


@pytest.mark.parametrize(
    "command",
    [
        ("tail", "--from", "earliest", "--exit"),
        ("tail", "--from", "earliest", "--exit", "--output", "jsonl"),
        ("replay", "--output", "jsonl"),
        ("exceptions", "ls"),
        ("exceptions", "check"),
    ],
    ids=" ".join,
)
def test_the_command_line_prints_each_and_no_control_character(
    world: World, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """No record ends a command, and none reaches the terminal with an escape in it."""
    text = _on_the_command_line(world, monkeypatch, *command)

    assert "bug" not in text
    # JSON is for programs, and keeps what is text: a character that turns the direction of writing, say.
    allowed = {"\n", *("\u202e" if "jsonl" in command else "")}
    assert not {character for character in text if not character.isprintable()} - allowed


def _on_the_command_line(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    opened = partial(wiring_module.Wiring, broker=world.broker, store=world.store)
    settings = world.wiring.settings
    with monkeypatch.context() as patched:
        # The program opens what its configuration names; here it names the services in memory.
        patched.setattr(wiring_module, "Wiring", opened)
        patched.setenv("STREAMRESULTS_ALLOW", ",".join(settings.allow))
        done = CliRunner().invoke(program, list(arguments), standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, StreamResultsError):
        raise done.exception
    return done.output


def test_no_single_record_holds_up_its_reader(world: World) -> None:
    """The slowest of them costs what a large honest one costs: well below a second of processor time."""
    codec = Codec(record_max=RECORD_MAX)
    slowest = 0.0
    with world.client() as client:
        for _, record in ASKED:
            began = time.thread_time()
            try:
                codec.decode(record.value)
                outcome_of(client.lookup(record.task_id))
            except (RecordError, DeadLettered, WaitTimeout):
                pass
            slowest = max(slowest, time.thread_time() - began)

    assert slowest < 2.0


def _good() -> Event:
    return Event(task_id="t", state="SUCCESS")
