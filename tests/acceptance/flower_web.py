"""Flower in front of an application of the Celery scenarios, as a program that reads results by HTTP sees it."""

from __future__ import annotations

import importlib.util
import json
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.celery_world import SOON  # also puts the local services on the path
from tests.waiting import eventually

# isort: split
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.acceptance.celery_world import World


@contextmanager
def flower(scene: World) -> Iterator[Callable[[str], Any]]:
    """Run Flower on the application of a scene; give what asks it for JSON, and is given a status where it refuses."""
    if importlib.util.find_spec("flower") is None:
        pytest.skip("pip install flower")
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"

    def shows(path: str) -> Any:
        try:
            with urllib.request.urlopen(address + path, timeout=SOON) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as exc:
            return exc.code

    def answers() -> bool:
        with suppress(urllib.error.URLError):
            return isinstance(shows("/api/task/types"), dict)
        return False

    arguments = ("flower", f"--port={port}", "--address=127.0.0.1", "--logging=error")
    with scene.worker.serving(*arguments, FLOWER_UNAUTHENTICATED_API="true"):
        eventually(answers, SOON, "Flower answers")
        yield shows
