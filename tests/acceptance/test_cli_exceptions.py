"""
``streamresults exceptions`` as a process on real Kafka, as a person or CI runs it.

We test these aspects: a topic of mixed records, broken and foreign ones among them; the exit code for CI before and
after the types are listed, by environment and by file; nothing to show; Kafka away; a configuration that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.events.event import Event, ExceptionNode
from tests.acceptance.conftest import PATIENCE, Cli, cli_on

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"
DECLINED = ExceptionNode(module="shop.errors", qualname="Declined")
RECORDS: dict[str, tuple[ExceptionNode, ...]] = {
    "listed": (ExceptionNode(module="builtins", qualname="ValueError", cause=1), DECLINED),
    "new": (DECLINED,),
    "another": (ExceptionNode(module="shop.stock", qualname="Empty"),),
    "refused": (ExceptionNode(module="os", qualname="system"),),
    "control": (ExceptionNode(module="builtins", qualname="SystemExit"),),
    "hostile": (ExceptionNode(module="x\x1b[2J", qualname="y" * 2000),),
    "nothing": (),
}
LINE = 'to list them: allow = ["shop.errors:Declined", "shop.stock:Empty"]'

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.fixture(scope="module")
def mixed(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Give commands on a topic with a record of every kind; no compactor is needed."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path_factory.mktemp("exceptions")) as cli:
        codec, writer = cli.wiring.codec(), cli.wiring.broker().writer(cli.wiring.settings.topic)
        for task, nodes in RECORDS.items():
            writer.produce(task.encode(), codec.encode(Event(task_id=task, state="FAILURE", exception=nodes)), None)
        writer.produce(b"fine", codec.encode(Event(task_id="fine", state="SUCCESS")), None)
        writer.produce(b"forgotten", None, None)
        writer.produce(b"broken", b"garbage", None)
        writer.produce(b"cut", codec.encode(Event(task_id="cut", state="FAILURE", exception=(DECLINED,)))[:-3], None)
        assert writer.close(Deadline(PATIENCE)) == 0
        yield cli


def with_settings(cli: Cli, **settings: str) -> Cli:
    """Return commands with further settings in their environment."""
    stated = {f"STREAMRESULTS_{name.upper()}": text for name, text in settings.items()}
    return Cli({**cli.environment, **stated}, cli.folder, cli.wiring)


def test_ls_shows_every_type_with_its_verdict(mixed: Cli) -> None:
    """Once each, with how many records hold it; what cannot be read does not end it."""
    ran = mixed("exceptions", "ls", "-o", "jsonl")
    found = {row["type"]: (row["records"], row["verdict"]) for row in ran.rows if row["type"].isprintable()}

    assert (0, "") == (ran.code, ran.err)
    assert {
        "shop.errors:Declined": (2, "not_listed"),
        "builtins:ValueError": (1, "allowed"),
        "shop.stock:Empty": (1, "not_listed"),
        "os:system": (1, "refused"),
        "builtins:SystemExit": (1, "not_listed"),
    } == found
    assert 6 == len(ran.rows)


def test_the_table_is_for_people(mixed: Cli) -> None:
    """Whatever a record calls itself: no control character comes to the terminal."""
    ran = mixed("exceptions", "ls")

    assert 0 == ran.code
    assert ran.out.replace("\n", "").isprintable()
    assert {"TYPE", "RECORDS", "VERDICT", "RULE"} <= set(ran.out.splitlines()[0].split())


def test_ci_fails_until_every_type_is_listed(mixed: Cli) -> None:
    """By exit code 6, with the line to add; what can be on no list is no reason to fail."""
    told = mixed("exceptions", "check")
    failed = mixed("exceptions", "check", "--fail-on-new", "-o", "jsonl")
    (mixed.folder / "shop").mkdir(exist_ok=True)
    for module, name in (("errors", "Declined"), ("stock", "Empty")):
        (mixed.folder / "shop" / f"{module}.py").write_text(f"class {name}(Exception):\n    pass\n")
    half = with_settings(mixed, allow="shop.errors:Declined")("exceptions", "check", "--fail-on-new", "-q")
    (mixed.folder / "allowed.toml").write_text('allow = ["shop.errors:*", "shop.stock:Empty"]\n')
    listed = with_settings(mixed, allow_file="allowed.toml")("exceptions", "check", "--fail-on-new", "-o", "jsonl")

    assert (0, LINE) == (told.code, told.err.strip())
    assert (6, LINE) == (failed.code, failed.err.strip())
    assert {"shop.errors:Declined", "shop.stock:Empty", "os:system"} <= {row["type"] for row in failed.rows}
    assert (6, "") == (half.code, half.err)
    assert (0, "") == (listed.code, listed.err)
    assert {"os:system", "builtins:SystemExit"} == {row["type"] for row in listed.rows if row["type"].isprintable()}


def test_explain_needs_no_kafka(mixed: Cli) -> None:
    """It speaks of the configuration alone."""
    away = with_settings(mixed, kafka_bootstrap=NOWHERE)
    ran = away("exceptions", "explain", "builtins:ValueError", "os:system", "shop.errors:Declined", "-o", "jsonl")

    assert (0, "") == (ran.code, ran.err)
    assert ["allowed", "refused", "not_listed"] == [row["verdict"] for row in ran.rows]
    assert 'allow = ["shop.errors:Declined"]' == ran.rows[2]["line"]


@pytest.mark.parametrize("command", ["ls", "check"])
def test_a_topic_without_exceptions_is_fine(cli: Cli, command: str) -> None:
    """Whether it holds records or none."""
    flags = ["--fail-on-new"] if command == "check" else []
    empty = cli("exceptions", command, *flags, "-o", "jsonl")
    cli("publish", "t-1", "--result", "1")
    plain = cli("exceptions", command, *flags, "-o", "jsonl")

    assert (0, "", "") == (empty.code, empty.out, empty.err)
    assert (0, "", "") == (plain.code, plain.out, plain.err)


@pytest.mark.parametrize("command", ["ls", "check"])
def test_without_kafka_it_ends_with_5(mixed: Cli, command: str) -> None:
    """Not with 6: that nothing could be read is no verdict on it."""
    ran = with_settings(mixed, kafka_bootstrap=NOWHERE)("exceptions", command)

    assert "cannot" in ran.failed_in_one_line(5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("allow = [", "broken.toml"),
        ('allow = "shop.errors:Declined"', "allow"),
        ('allow = ["os:system"]', "is not an exception class"),
        ('allow = ["no.such.module:E"]', "cannot be imported"),
        ('allow = ["builtins:SystemExit"]', "must never be rebuilt"),
        ('allow = ["just words"]', "does not have the form"),
        ('alow = ["shop:E"]', "has to hold allow"),
    ],
)
def test_a_wrong_file_is_an_error_of_one_line(mixed: Cli, text: str, words: str) -> None:
    """It names the file or the entry; CI cannot take it for a verdict."""
    (mixed.folder / "broken.toml").write_text(text)
    ran = with_settings(mixed, allow_file="broken.toml")("exceptions", "check", "--fail-on-new")

    assert words in ran.failed_in_one_line(2)


def test_a_wrong_configuration_is_an_error_of_one_line(mixed: Cli) -> None:
    """Of the program's own file too."""
    (mixed.folder / "wrong.toml").write_text("allow = [")
    ran = with_settings(mixed, config="wrong.toml")("exceptions", "explain", "shop:E")

    assert "wrong.toml" in ran.failed_in_one_line(2)
