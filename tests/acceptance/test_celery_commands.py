"""
What somebody types about a Celery application: ``celery result``, ``celery -A proj streamresults ...`` and
``streamresults celery import``, as processes on real Kafka and real Redis.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import states

from streamresults.celery.process import close_all
from tests.acceptance.conftest import PATIENCE, Cli, Ran, cli_on, logged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.redis,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # by Celery itself
]

PROJECT = """\
from celery import Celery

class Listed(Exception): ...
class Unlisted(Exception): ...

app = Celery("proj", broker="memory://", backend={backend!r})
app.conf.result_backend_transport_options = {options!r}

@app.task(throws=Listed)
def task(): ...
"""


class Project:
    """An application in a folder of its own."""

    def __init__(self, cli: Cli, old_url: str) -> None:
        settings = cli.wiring.settings
        self.old_url = old_url
        self.options = {"global_keyprefix": settings.topic, "fallback_backend": old_url}
        backend = (
            f"streamresults://{settings.kafka_bootstrap}/{settings.topic}"
            f"?redis={settings.redis_url}&namespace={settings.namespace}"
        )
        (cli.folder / "proj.py").write_text(PROJECT.format(backend=backend, options=self.options))
        self.app = self._app(backend)
        self.celery = Cli({}, cli.folder, cli.wiring, (sys.executable, "-m", "celery", "-A", "proj"))
        self.streamresults = Cli({}, cli.folder, cli.wiring)

    def _app(self, backend: str) -> Celery:
        app = celery.Celery("proj", broker="memory://", backend=backend, set_as_current=False)
        app.conf.result_backend_transport_options = self.options
        return app

    def old(self) -> Celery:
        """Return the application as it was."""
        return self._app(self.old_url)


@pytest.fixture(scope="module")
def project(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Give an application whose results are folded meanwhile."""
    with (
        cli_on(kafka_bootstrap, redis_url, tmp_path_factory.mktemp("celery")) as cli,
        cli.started("compactor", "run", "--from", "earliest") as compactor,
    ):
        logged(compactor, "partitions assigned")
        yield Project(cli, redis_url)
        close_all()
        compactor.terminate()
        compactor.wait(PATIENCE)


@pytest.fixture(scope="module")
def stored(project: Project) -> Project:
    """Give the same with a result, and exceptions that are listed and not."""
    sys.path.insert(0, str(project.streamresults.folder))
    try:
        proj = importlib.import_module("proj")
    finally:
        sys.path.pop(0)
    project.app.backend.store_result("sum", {"a": 4}, states.SUCCESS)
    project.app.backend.store_result("listed", proj.Listed("l"), states.FAILURE)
    project.app.backend.store_result("unlisted", proj.Unlisted("u"), states.FAILURE)
    for task_id in ("sum", "listed", "unlisted"):
        project.app.backend.connections.client.lookup(task_id, fresh=True, timeout=PATIENCE)
    return project


def one_line(ran: Ran) -> str:
    """Return the one line of stdout."""
    (line,) = ran.out.splitlines()
    return line


def test_celery_result_shows_results(stored: Project) -> None:
    ran = stored.celery("result", "sum")

    assert (0, "{'a': 4}") == (ran.code, one_line(ran))
    failed = stored.celery("result", "unlisted")
    assert (1, "streamresults.errors.RemoteTaskError: proj:Unlisted: u") == (failed.code, failed.err.splitlines()[-1])


def test_commands_know_the_settings_of_the_application(stored: Project) -> None:
    """Neither environment nor options say where anything is."""
    got = stored.celery("streamresults", "-o", "jsonl", "get", "sum")
    unknown = stored.celery("streamresults", "get", "nobody")
    lag = stored.celery("streamresults", "lag", "-o", "json")

    assert (0, "SUCCESS") == (got.code, got.rows[0]["state"])
    assert 3 == unknown.code
    assert (0, 0) == (lag.code, json.loads(lag.out)["total"]["lag"])
    assert "exceptions" in stored.celery("streamresults", "--help").out


def test_exceptions_check_knows_what_the_tasks_list(stored: Project) -> None:
    """And says the line of Celery's configuration."""
    ran = stored.celery("streamresults", "exceptions", "check", "--fail-on-new", "-o", "jsonl")

    assert 6 == ran.code
    assert ["proj:Unlisted"] == [row["type"] for row in ran.rows]
    assert 'to list them: streamresults_allow = ["proj:Unlisted"]' in ran.err


def test_what_fails_is_one_line(stored: Project) -> None:
    ran = stored.celery("streamresults", "-b", "127.0.0.1:1", "-t", "elsewhere", "lag")

    assert ran.failed_in_one_line(5)


def test_another_backend_is_said(project: Project) -> None:
    (project.streamresults.folder / "other.py").write_text(
        "from celery import Celery\napp = Celery(backend='cache+memory://')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "other", "streamresults", "lag"],
        cwd=project.streamresults.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert 2 == ran.returncode
    assert "the application has another result backend: CacheBackend" in ran.stderr


def test_import_copies_names_what_is_bad_and_brings_nothing_twice(project: Project) -> None:
    """From the fallback_backend of the application, by default."""
    old = project.old()
    old.backend.store_result("before", 1, states.SUCCESS)
    old.backend.client.set(old.backend.get_key_for_task("broken"), b"{")

    dry = imported(project, "--dry-run")
    first = imported(project)
    project.app.backend.connections.client.lookup("before", fresh=True, timeout=PATIENCE)
    again = imported(project, "--from", project.old_url)
    old.backend.client.delete(old.backend.get_key_for_task("broken"))
    good = project.streamresults("celery", "import", "-A", "proj")
    old.backend.client.connection_pool.disconnect()

    assert (1, True) == (dry["tasks"], dry["dry_run"])
    assert (1, 0, 1) == (first["tasks"], first["known_already"], first["bad"])
    assert (0, 1, 1) == (again["tasks"], again["known_already"], again["bad"])
    assert 0 == good.code
    assert "known already" in good.out
    assert 1 == project.app.AsyncResult("before").get(timeout=0)


def imported(project: Project, *arguments: str) -> dict[str, Any]:
    """Run it where one record is bad; return what it has counted."""
    ran = project.streamresults("celery", "import", "-A", "proj", "-o", "json", *arguments)

    assert 8 == ran.code, ran
    (line,) = ran.err.splitlines()
    assert line.startswith("bad: ")
    assert "celery-task-meta-broken: DecodeError" in line
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_import_lists_the_exceptions_that_nobody_has_listed(project: Project) -> None:
    """Before anything is copied."""
    old = project.old()
    stored = {"a": ("proj", "Unlisted"), "b": ("proj", "Unlisted"), "c": ("proj", "Listed"), "d": ("os", "system")}
    for task_id, (module, name) in stored.items():
        error = {"exc_type": name, "exc_module": module, "exc_message": ["x"]}
        meta = {"status": states.FAILURE, "result": error, "task_id": task_id, "date_done": None, "children": []}
        old.backend.client.set(old.backend.get_key_for_task(task_id), json.dumps(meta))

    dry = project.streamresults("celery", "import", "-A", "proj", "--dry-run", "-o", "json")
    shown = project.streamresults("celery", "import", "-A", "proj", "--dry-run")
    old.backend.client.delete(*(old.backend.get_key_for_task(task_id) for task_id in stored))
    old.backend.client.connection_pool.disconnect()

    assert (dry.code, shown.code) == (0, 0)
    assert json.loads(dry.out)["unlisted"] == {"proj:Unlisted": 2}
    assert dry.err.splitlines() == ['to list them: streamresults_allow = ["proj:Unlisted"]']
    assert ["proj:Unlisted", "2"] in [line.split() for line in shown.out.splitlines()]


def test_import_tells_of_an_application_that_is_not_switched_over_yet(project: Project) -> None:
    """What its results are is asked of the backend that it has; where they would go stands in the environment."""
    settings = project.streamresults.wiring.settings
    text = PROJECT.format(backend=project.old_url, options={"global_keyprefix": project.options["global_keyprefix"]})
    (project.streamresults.folder / "before.py").write_text(text)
    where = {
        "STREAMRESULTS_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "STREAMRESULTS_TOPIC": settings.topic,
        "STREAMRESULTS_REDIS_URL": settings.redis_url or "",
        "STREAMRESULTS_NAMESPACE": settings.namespace,
    }
    old = project.old()
    old.backend.store_result("not yet", 1, states.SUCCESS)

    ran = Cli(where, project.streamresults.folder, project.streamresults.wiring)(
        "celery", "import", "-A", "before", "--dry-run", "-o", "json"
    )
    old.AsyncResult("not yet").forget()
    old.backend.client.connection_pool.disconnect()

    assert ran.code == 0, ran
    assert json.loads(ran.out)["tasks"] == 1


def test_import_without_an_old_backend_says_how_to_name_it(project: Project) -> None:
    text = (project.streamresults.folder / "proj.py").read_text().replace("fallback_backend", "master_name")
    (project.streamresults.folder / "bare.py").write_text(text)

    assert "--from" in project.streamresults("celery", "import", "-A", "bare").failed_in_one_line(2)
    assert "nosuch" in project.streamresults("celery", "import", "-A", "nosuch").failed_in_one_line(2)
