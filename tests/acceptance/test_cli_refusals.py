"""What the program refuses, and what it says of itself: one line, an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from streamresults import __version__
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.acceptance.conftest import Cli

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


# -- no bugs of ours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--brokers", "--redis", "--topic", "--namespace", "-X"])
def test_what_is_no_text_is_refused(cli: Cli, option: str) -> None:
    line = cli("get", "t", option, "redis://a=\udcff").failed_in_one_line(2)

    assert "UTF-8" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_what_cannot_be_written_is_said_to_be_the_disks(cli: Cli) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "streamresults", "lag", "--help"],
            cwd=cli.folder,
            env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ran.returncode == 2
    assert "No space left" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


# -- a Kafka that never answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["publish", "t", "--timeout", "50"], ["init"]], ids=str)
def test_ctrl_c_ends_it_while_kafka_does_not_answer(cli: Cli, arguments: list[str]) -> None:
    """Though librdkafka is asked by the thread that signals are served in."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bootstrap = f"127.0.0.1:{silent.getsockname()[1]}"
        with cli.started("-b", bootstrap, *arguments) as asking:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1)
                asking.send_signal(signal.SIGINT)
                asking.communicate(timeout=10)

    assert asking.returncode == 130


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["publish", "ID", "--result", "{x"], "not JSON"),
        (["publish", "ID", "--result", "NaN"], "JSON has no NaN"),
        (["publish", "ID", "--result", "[1e999]"], "1e999 is too large"),
        (["publish", "ID", "--result", "1", "--error", "e"], "not both"),
        (["publish", "ID", "--progress", "1", "--retry", "e"], "--progress or --retry, not both"),
        (["publish", "ID", "--progress", "{x"], "not JSON"),
        (["publish", "ID", "--progress", "1", "--state", "SUCCESS"], "SUCCESS is no progress"),
        (["publish", "ID", "--progress", "1", "--state", "RETRY"], "RETRY is no progress"),
        (["publish", "ID", "--retry", "e", "--state", "STARTED"], "--retry is the state RETRY"),
        (["publish", "ID", "--result", "1", "--state", "RETRY"], "use --retry"),
        (["publish", "ID", "--attempt", "0"], "0 is not in the range"),
        (["publish", "ID", "--state", ""], "empty"),
        (["tail", "--state", ""], "empty"),
        (["tail", "--task", ""], "empty"),
        (["tail", "-f", "%i %q"], "'%q' is no token. Known: %i"),
        (["tail", "-f", "100%"], "'%' is no token"),
        (["tail", "-f", r"%i\x"], "is no token"),
        (["publish", "ID", "--state", "FAILURE"], "needs --error"),
        (["publish", "ID", "--state", "STARTED", "--error", "e"], "belongs to"),
        (["publish", "ID", "--expires", "soon"], "not a duration"),
        (["publish", "ID", "--expires", "999d"], "longest expiry"),
        (["publish", "group:ID"], "reserved"),
        (["publish", ""], "1 to 1024 bytes"),
        (["get"], "Missing argument"),
        (["wait", "ID", "--via", "pigeon"], "pigeon"),
        (["compactor"], "Missing command"),
        (["compactor", "run", "--timeout", "3"], "--once"),
        (["replay", "--from", "yesterday"], "Accepted"),
        (["replay", "--verify", "--to", "5"], "--verify"),
        (["init", "--retention", "1h"], "longest expiry"),
        (["frobnicate"], "No such command"),
        (["-X", "nonsense", "lag"], "key=value"),
        (["-X", "foo=bar", "tail"], "foo"),
        (["-F", "nowhere.toml", "lag"], "nowhere.toml"),
        (["--redis", "ftp://x", "lag"], "Redis URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusal_is_one_line_and_exits_with_2(running: Cli, arguments: list[str], words: str) -> None:
    """Whatever cannot be carried out is said in one line, before anything is sent."""
    assert words in running(*arguments).failed_in_one_line(2)


def test_bad_json_sends_nothing(cli: Cli, task_id: str) -> None:
    """The topic is as empty as before."""
    cli("publish", task_id, "--result", "{x").failed_in_one_line(2)

    assert "" == cli("tail", "--from", "earliest", "--exit").out


def test_nothing_configured_is_a_refusal(tmp_path: Path) -> None:
    """Without Kafka and Redis there is nothing to wait on."""
    nothing = Cli({}, tmp_path, Wiring(Settings()))

    assert "neither Kafka nor Redis" in nothing("wait", "x").failed_in_one_line(2)
    assert "STREAMRESULTS_KAFKA_BOOTSTRAP" in nothing("publish", "x").failed_in_one_line(2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-b", NOWHERE, "publish", "ID", "--timeout", "1"],
        ["-b", NOWHERE, "tail"],
        ["-b", NOWHERE, "compactor", "run"],
        ["--redis", f"redis://{NOWHERE}", "get", "ID"],
        ["--redis", f"redis://{NOWHERE}", "lag"],
        ["--redis", f"redis://{NOWHERE}", "compactor", "run", "--once"],
        ["-b", NOWHERE, "--redis", f"redis://{NOWHERE}", "wait", "ID", "--timeout", "1"],
    ],
    ids=" ".join,
)
def test_service_that_is_away_exits_with_5(running: Cli, arguments: list[str]) -> None:
    """The line names the address, and no line of a client library stands beside it."""
    line = running(*arguments).failed_in_one_line(5)

    assert NOWHERE in line
    assert "streamresults doctor" in line


def test_missing_topic_says_how_to_make_it(running: Cli) -> None:
    """At once, not after a timeout."""
    assert "streamresults init" in running("-t", "no-such-topic", "publish", "x").failed_in_one_line(5)


# -- the program ------------------------------------------------------------------------------------------------------


def test_help_loads_no_client_library(tmp_path: Path) -> None:
    """Help is read while one types: it must not wait for libraries."""
    code = (
        "import sys\n"
        "from streamresults.cli import main\n"
        "code = main(['--help'])\n"
        "heavy = {'confluent_kafka', 'redis', 'fastavro', 'rich', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "Exit codes:" in ran.stdout


@pytest.mark.parametrize(
    "command",
    ["demo", "doctor", "init", "compactor", "compactor run", "publish", "get", "wait", "tail", "replay", "lag"],
)
def test_every_command_has_help(running: Cli, command: str) -> None:
    """With the exit code 0 and something to read."""
    shown = running(*command.split(), "--help")

    assert (0, "") == (shown.code, shown.err)
    assert f"Usage: streamresults {command}" in shown.out


def test_version_is_told(running: Cli) -> None:
    """On the fast path and on the slow one."""
    assert f"streamresults {__version__}\n" == running("--version").out
    assert f"streamresults {__version__}\n" == running("-q", "--version").out


def test_debug_log_has_the_traceback_that_the_line_leaves_out(running: Cli) -> None:
    """For whoever has to find out more."""
    ran = running("-t", "no-such-topic", "--log-level", "debug", "tail")

    assert 5 == ran.code
    assert "Traceback" in ran.err
    assert "the configuration is" in ran.err
