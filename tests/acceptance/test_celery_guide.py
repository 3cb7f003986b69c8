"""The page about Celery: its example is moved from Redis as the page says, and does what the page says."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from streamresults.cli.program import COMMANDS
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "celery.md").read_text()
#: Seconds within which anything here happens on a loaded machine.
SOON = 40.0

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Call to deprecated"),  # Celery's own backend calls redis in ways of the past
]


def test_the_application_of_the_page_is_moved(running: Cli, tmp_path: Path) -> None:
    """The module is the page's examples up to the one that uses it."""
    settings = running.wiring.settings
    assert settings.redis_url is not None
    server = settings.redis_url.rpartition("/")[0]
    view = f"redis={settings.redis_url}&namespace={settings.namespace}"
    moved = PAGE.replace(
        "streamresults://kafka:9092/results?redis=redis://redis:6379/1",
        f"streamresults://{settings.kafka_bootstrap}/{settings.topic}?{view}",
    ).replace("redis://redis:6379/0", f"{server}/3")
    *module, caller = re.findall(r"^```python\n(.*?)^```", moved, re.MULTILINE | re.DOTALL)[:5]
    queue = f"celery-{secrets.token_hex(4)}"  # the broker may be another run's as well
    (tmp_path / "shop.py").write_text("\n".join([*module, f"app.conf.task_default_queue = {queue!r}"]))
    caller = caller.replace('"celery")', f"{queue!r})")
    old = Celery("old", backend=f"{server}/3", set_as_current=False)
    old.backend.store_result("order-of-yesterday", "stored in Redis", "SUCCESS")
    log = tmp_path / "worker.log"

    with log.open("w") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "2", "-l", "info"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    try:
        eventually(lambda: " ready." in log.read_text(), SOON, "the worker is ready")
        ran = subprocess.run(
            [sys.executable, "-c", f"from shop import *\n{caller}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=SOON,
            check=False,
        )
    finally:
        worker.terminate()
        worker.wait(SOON)
        old.backend.forget("order-of-yesterday")

    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)


def test_every_command_of_the_page_exists() -> None:
    assert set() == set(re.findall(r"`(?:celery -A \w+ )?streamresults ([a-z]+)", PAGE)) - set(COMMANDS)
