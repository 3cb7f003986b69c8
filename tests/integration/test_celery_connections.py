"""How many connections a process opens in which many threads wait by Celery's result objects."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery import states
from redis import Redis

from streamresults.client import Client
from streamresults.settings import Settings
from streamresults.wiring import Wiring
from tests.celery_desk import closing_backends, make_app
from tests.compacting import compacting
from tests.conftest import create_topics
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from streamresults.client import Result

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

THREADS = 50
#: Seconds within which anything here happens on a loaded machine.
SOON = 40.0


def waiting(app: Celery) -> int:
    """Return how many waits the engine of an application holds."""
    engine = app.backend.connections.client._engine
    if engine is None:
        return 0
    with engine.waits.lock:
        return len(engine.waits.everybody())


def connections(server: Redis) -> set[str]:
    return {str(client["id"]) for client in server.client_list()}


def slowly(lookup_many: Callable[..., list[Result]]) -> Callable[..., list[Result]]:
    """Return the same on a busy machine: the last of many threads has its turn late, but turns go on."""

    def looked_up(*arguments: Any, **options: Any) -> list[Result]:
        time.sleep(0.01)
        return lookup_many(*arguments, **options)

    return looked_up


def test_fifty_threads_that_wait_share_three_connections_to_redis(
    kafka_bootstrap: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"c-{secrets.token_hex(5)}"
    settings = Settings(kafka_bootstrap=kafka_bootstrap, redis_url=redis_url, topic=name, namespace=name)
    with Wiring(settings) as wiring, Redis.from_url(redis_url) as server, ThreadPoolExecutor(THREADS) as pool:
        create_topics(wiring)
        with compacting(wiring), closing_backends():
            app, worker = make_app(wiring), make_app(wiring)
            worker.backend.store_result("warm", 1, states.SUCCESS)
            worker.backend.connections.client.lookup("warm", fresh=True, timeout=SOON)
            before = connections(server)
            monkeypatch.setattr(Client, "lookup_many", slowly(Client.lookup_many))

            found = [pool.submit(lambda name: app.AsyncResult(name).get(timeout=SOON), f"t{n}") for n in range(THREADS)]
            eventually(lambda: waiting(app) == THREADS, SOON)
            opened = connections(server) - before
            for number in range(THREADS):
                worker.backend.store_result(f"t{number}", number, states.SUCCESS)

            assert [future.result() for future in found] == list(range(THREADS))
            assert len(opened) <= 3
