"""Chords of a real prefork worker on a real Kafka and Redis, while processes die and Redis forgets."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import chord

from streamresults.cli.program import run
from tests.celery_desk import closing_backends
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.wiring import Wiring

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "tests.integration.celery_chord_project"
#: Seconds within which anything here happens on a loaded machine.
SOON = 45.0


class Scene:
    """An application with its worker."""

    def __init__(self, project: Any, wiring: Wiring, folder: Path) -> None:
        self.tasks = project
        self.wiring = wiring
        self.folder = folder

    def let(self, name: str) -> None:
        """Let a task go on that is held."""
        (self.folder / name).touch()

    @property
    def collected(self) -> int:
        """How often a body has run."""
        found = self.folder / "collected"
        return len(found.read_text()) if found.exists() else 0

    def come(self, result: Any) -> int:
        """Return how many parts of a chord have come."""
        found = self.tasks.app.backend.connections.parts.read(result.parent.id)
        return 0 if found is None else len(found.parts)

    def forget_all(self) -> None:
        """Lose everything in Redis that is this test's, as FLUSHALL does."""
        server = redis.Redis.from_url(self.wiring.settings.redis_url)
        for key in server.scan_iter(match=f"*{self.wiring.settings.namespace}*", count=5000):
            server.delete(key)
        server.close()

    def says(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return what the command says of a chord, and its exit code."""
        settings = self.wiring.settings
        where = ["-b", settings.kafka_bootstrap, "-t", settings.topic, "--redis", settings.redis_url]
        capsys.readouterr()
        code = run(["celery", "chord", *arguments, *where, "--namespace", settings.namespace, "-o", "json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}


@pytest.fixture
def scene(real_wiring: Wiring, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Give an application whose worker has two processes."""
    settings = real_wiring.settings
    told = {
        "broker": f"{redis_url.rpartition('/')[0]}/1",
        "backend": (
            f"streamresults://{settings.kafka_bootstrap}/{settings.topic}"
            f"?redis={settings.redis_url}&namespace={settings.namespace}"
        ),
        "queue": f"q-{secrets.token_hex(4)}",
        "folder": str(tmp_path),
    }
    monkeypatch.setenv("CHORDS", json.dumps(told))
    sys.modules.pop(PROJECT, None)
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", PROJECT, "worker", "-c", "2", "-l", "info", "-n", told["queue"]]
    options = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    with log.open("w") as file:
        worker = subprocess.Popen([*command, *options], cwd=ROOT, env={**os.environ}, stderr=file, stdout=file)
    try:
        with closing_backends(), compacting(real_wiring):
            project = importlib.import_module(PROJECT)
            eventually(lambda: " ready." in log.read_text(), SOON, "the worker is ready")
            yield Scene(project, real_wiring, tmp_path)
            project.app.close()
    finally:
        (tmp_path / "over").touch()
        worker.terminate()
        worker.wait(SOON)
        print(log.read_text()[-6000:])  # noqa: T201 -- shown where a test fails


@pytest.mark.timeout(120)
def test_a_body_whose_dispatcher_is_killed_is_sent_by_the_worker_and_runs_once(scene: Scene) -> None:
    scene.let("die")

    result = chord([scene.tasks.echo.s(number) for number in range(3)])(scene.tasks.collect.s())

    assert result.get(timeout=SOON) == [0, 1, 2]
    assert not (scene.folder / "die").exists()
    assert scene.collected == 1


@pytest.mark.timeout(120)
def test_a_member_that_dies_and_is_delivered_again_counts_once(scene: Scene) -> None:
    result = chord([scene.tasks.dying_once.s(1), scene.tasks.echo.s(2)])(scene.tasks.collect.s())

    assert result.get(timeout=SOON) == [1, 2]
    assert scene.collected == 1


@pytest.mark.timeout(120)
def test_a_chord_goes_on_when_redis_has_forgotten_everything(scene: Scene) -> None:
    tasks = scene.tasks
    header = [tasks.echo.s("first"), tasks.held.s("last"), tasks.echo.s("second")]
    result = chord(header)(tasks.collect.s())
    eventually(lambda: scene.come(result) == 2, SOON)

    scene.forget_all()
    scene.let("last")

    assert result.get(timeout=SOON) == ["first", "last", "second"]
    assert scene.collected == 1


@pytest.mark.timeout(120)
def test_a_task_that_a_member_adds_is_waited_for(scene: Scene) -> None:
    result = chord([scene.tasks.adding.s(1), scene.tasks.echo.s(2)])(scene.tasks.collect.s())

    assert result.get(timeout=SOON) == [1, [1], 2]


@pytest.mark.timeout(120)
def test_a_running_member_that_is_revoked_fails_the_chord(scene: Scene) -> None:
    result = chord([scene.tasks.held.s("never"), scene.tasks.echo.s(2)])(scene.tasks.collect.s())
    eventually(lambda: scene.come(result) == 1, SOON)

    result.parent.results[0].revoke(terminate=True, signal="SIGKILL")

    with pytest.raises(Exception, match=r"terminated|revoked|Dependency"):
        result.get(timeout=SOON)
    assert scene.collected == 0


@pytest.mark.timeout(120)
def test_the_command_says_what_a_chord_waits_for_and_when_it_is_done(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    result = chord([scene.tasks.echo.s(1), scene.tasks.held.s("go")])(scene.tasks.collect.s())
    eventually(lambda: scene.come(result) == 1, SOON)

    code, found = scene.says(capsys, result.id)

    assert code == 0
    assert (found["status"], found["come"], found["expected"], found["stuck"]) == ("counting", 1, 2, False)
    assert [one["part"] for one in found["members"]] == ["come", "missing"]
    assert found["group_id"] == result.parent.id
    assert found["body_task"] == scene.tasks.collect.name
    scene.let("go")
    assert result.get(timeout=SOON) == [1, "go"]
    eventually(lambda: scene.says(capsys, result.parent.id)[1]["status"] == "sent", SOON)


@pytest.mark.timeout(120)
def test_a_chord_that_nobody_returns_to_is_found_stuck_and_sent_by_the_command(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = scene.tasks
    result = chord([tasks.echo.s(1), tasks.held.s("go")])(tasks.collect.s())
    eventually(lambda: scene.come(result) == 1, SOON)
    # What a worker does that dies between storing a result and counting it.
    tasks.app.backend.store_result(result.parent.results[1].id, "stored", "SUCCESS")
    tasks.app.backend.connections.client.lookup(result.parent.results[1].id, fresh=True)

    code, found = scene.says(capsys, result.parent.id)
    assert (code, found["stuck"]) == (7, True)
    assert "--dispatch" in found["why"]
    code, found = scene.says(capsys, result.parent.id, "--dispatch", "-A", PROJECT)

    assert (code, found["status"]) == (0, "sent")
    scene.let("go")
    assert result.get(timeout=SOON) == [1, "stored"]
    eventually(lambda: scene.collected == 1)


def test_a_chord_that_nobody_knows_is_told_so(real_wiring: Wiring, capsys: pytest.CaptureFixture[str]) -> None:
    with compacting(real_wiring):
        settings = real_wiring.settings
        where = ["-b", settings.kafka_bootstrap, "-t", settings.topic, "--redis", settings.redis_url]

        code = run(["celery", "chord", "nobody", *where, "--namespace", settings.namespace])

    assert code == 3
    assert "no chord 'nobody' is known" in capsys.readouterr().err


def test_sending_a_body_takes_an_application(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["celery", "chord", "x", "--dispatch"]) == 2
    assert "-A" in capsys.readouterr().err
