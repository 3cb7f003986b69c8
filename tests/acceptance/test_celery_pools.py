"""Every pool of Celery's workers: what ends a process of one, and what such a process may end with."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from celery import group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError

from streamresults.errors import RemoteTaskError
from tests import services
from tests.acceptance.celery_world import SOON, World, world_on
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.slow]

#: Tasks at a time of the pools that have no processes.
AT_A_TIME = 12


@pytest.fixture(scope="module")
def prefork(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give a worker each of whose processes runs one task and ends."""
    folder = tmp_path_factory.mktemp("prefork")
    arguments = ["-P", "prefork", "-c", "2", "--max-tasks-per-child", "1"]
    with world_on("streamresults", kafka_bootstrap, redis_url, folder, *arguments) as found:
        yield found


@pytest.fixture(params=["threads", "gevent", "eventlet"])
def pool(request: pytest.FixtureRequest, kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[World]:
    """Give a worker that runs many tasks at a time in its one process."""
    arguments = ["-P", request.param, "-c", str(AT_A_TIME)]
    with world_on("streamresults", kafka_bootstrap, redis_url, tmp_path, *arguments, task_track_started=True) as found:
        yield found


# -- prefork ------------------------------------------------------------------------------------------------------


def test_a_process_is_connected_before_its_first_task(prefork: World) -> None:
    eventually(lambda: "publisher opened" in prefork.worker.log.read_text(), SOON)


def test_a_process_that_ends_loses_no_result(prefork: World) -> None:
    results = group(prefork.tasks.process_id.s() for _ in range(6)).apply_async()

    assert len(set(results.get(timeout=SOON))) == 6


def test_a_process_that_ends_leaves_its_last_word(prefork: World) -> None:
    """Though no result follows that would be waited for."""
    results = [prefork.tasks.says_and_leaves.delay() for _ in range(4)]

    eventually(lambda: all(result.state == "LAST-WORD" for result in results), SOON)
    assert len({result.info for result in results}) == 4


def test_a_task_whose_process_was_killed_has_failed(prefork: World) -> None:
    with pytest.raises(WorkerLostError):
        prefork.tasks.die.delay().get(timeout=SOON)


def test_a_task_whose_process_was_killed_is_run_again_if_it_asks_for_that(prefork: World, tmp_path: Path) -> None:
    result = prefork.tasks.dies_once.delay(str(tmp_path / "died"))

    assert result.get(timeout=SOON) == result.id
    assert (tmp_path / "died").exists()


def test_both_time_limits_are_told(prefork: World) -> None:
    soft, hard = prefork.tasks.much_too_long.delay(), prefork.tasks.too_long.delay()

    with pytest.raises(RemoteTaskError) as raised:
        soft.get(timeout=SOON)
    assert raised.value.is_type("billiard.exceptions:SoftTimeLimitExceeded")
    with pytest.raises(TimeLimitExceeded):
        hard.get(timeout=SOON)


def test_a_task_that_was_terminated_is_revoked(prefork: World, tmp_path: Path) -> None:
    path = tmp_path / "begun"
    result = prefork.tasks.begins_and_sleeps.delay(str(path))
    eventually(path.exists, SOON)

    result.revoke(terminate=True, signal="SIGKILL")

    with pytest.raises(TaskRevokedError):
        result.get(timeout=SOON)
    assert prefork.client().AsyncResult(result.id).state == "REVOKED"


def test_a_message_is_acknowledged_after_its_result_is(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    with closing(services.kafka_cluster()) as kafka:
        arguments = ["-P", "prefork", "-c", "1"]
        with world_on("streamresults", kafka.bootstrap, redis_url, tmp_path, *arguments) as scene:
            assert scene.tasks.add.delay(1, 1).get(timeout=SOON) == 2
            kafka.processes[0].pause()
            results = [scene.tasks.note.delay(str(path)) for _ in range(2)]
            eventually(path.exists, SOON)

            # Its result cannot be stored, and so it is not acknowledged; nor does the other one begin.
            assert results[0].id in scene.unacknowledged()
            assert len(path.read_text().splitlines()) == 1
            kafka.processes[0].resume()

            assert [result.get(timeout=SOON) for result in results] == [1, 2]
            eventually(lambda: not scene.unacknowledged(), SOON)


# -- one process ----------------------------------------------------------------------------------------------------


def test_tasks_run_at_the_same_time(pool: World) -> None:
    """None of them is held up by the connections to Kafka and Redis, nor by one that waits for another."""
    spans: list[list[float]] = group(pool.tasks.meets.s(1.5) for _ in range(AT_A_TIME)).apply_async().get(timeout=SOON)
    assert max(begun for begun, _ in spans) < min(ended for _, ended in spans)

    waiting = [pool.tasks.asks_within.delay() for _ in range(AT_A_TIME // 2)]
    assert [result.get(timeout=SOON)[1] for result in waiting] == [2] * len(waiting)

    many = group(pool.tasks.add.s(number, number) for number in range(100)).apply_async()
    assert many.get(timeout=SOON) == [2 * number for number in range(100)]

    error: Any = pool.tasks.out_of_stock.delay("tea").get(timeout=SOON, propagate=False)
    assert (type(error), error.item) == (pool.tasks.OutOfStock, "tea")

    assert pool.tasks.own_state.delay().get(timeout=SOON) == ["HALF", {"done": 50}]

    progress = pool.tasks.says_and_leaves.delay()
    eventually(lambda: progress.state == "LAST-WORD", SOON)


def test_a_worker_without_a_pool(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> None:
    with world_on("streamresults", kafka_bootstrap, redis_url, tmp_path, "-P", "solo") as scene:
        results = group(scene.tasks.add.s(number, number) for number in range(50)).apply_async()
        assert results.get(timeout=SOON) == [2 * number for number in range(50)]
        assert repr(scene.tasks.fail.delay("broken").get(timeout=SOON, propagate=False)) == "ValueError('broken')"

        last = scene.tasks.says_and_leaves.delay()
        scene.wait_until_run(last)
        scene.worker.stop()

        # The worker has said its last word before it ended.
        eventually(lambda: last.state == "LAST-WORD", SOON)
