"""
Forgetting, saved groups and what a process remembers of results, by the result backend; all in memory.

We test these aspects: what is forgotten is gone here and elsewhere, whatever the view shows; it may run again; groups
that are saved, restored and deleted; results that are kept, and what a wait was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import states
from celery.result import ResultSet

from streamresults.celery.process import close_all
from tests.celery_desk import backend_of, elsewhere
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.celery import StreamResultsBackend
    from streamresults.wiring import Wiring


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_what_is_forgotten_is_gone_at_once(backend: StreamResultsBackend) -> None:
    backend.store_result("t", 1, states.SUCCESS)
    elsewhere(backend, "t")

    backend.forget("t")

    assert backend.get_state("t") == "PENDING"
    assert not backend.task_result_exists("t")
    assert elsewhere(backend, "t").state == "UNKNOWN"


def test_what_was_forgotten_does_not_show_though_the_view_has_not_folded_that(memory_wiring: Wiring) -> None:
    backend = backend_of(memory_wiring)
    try:
        with compacting(memory_wiring):
            backend.store_result("t", 1, states.SUCCESS)
            elsewhere(backend, "t")

        backend.forget("t")
        assert backend.get_state("t") == "PENDING"
        backend.store_result("t", 2, states.SUCCESS)
        assert backend.get_result("t") == 2
    finally:
        close_all()


def test_a_task_that_was_forgotten_may_run_again(backend: StreamResultsBackend) -> None:
    backend.store_result("t", 1, states.SUCCESS)
    backend.forget("t")
    backend.store_result("t", 2, states.SUCCESS)

    assert backend.get_result("t") == 2
    assert elsewhere(backend, "t").result == 2


def test_whether_a_task_is_known_is_told_from_pending(backend: StreamResultsBackend) -> None:
    assert not backend.task_result_exists("t")

    backend.store_result("t", None, states.PENDING)

    assert backend.task_result_exists("t")


def test_what_another_process_forgets_is_pending_here_too(folded: Wiring) -> None:
    here, other = backend_of(folded), backend_of(folded)
    here.store_result("t", 1, states.SUCCESS)
    assert here.get_state("t") == "SUCCESS"

    other.forget("t")

    eventually(lambda: here.get_state("t") == "PENDING")


# -- groups -----------------------------------------------------------------------------------------------------------


def test_a_saved_group_is_restored_by_any_process(folded: Wiring) -> None:
    backend, other = backend_of(folded), backend_of(folded)
    app = backend.app
    group = app.GroupResult(
        "g", [app.AsyncResult("a"), app.GroupResult("h", [app.AsyncResult("b")])], parent=app.AsyncResult("p")
    )
    group.save()

    found = other.app.GroupResult.restore("g")

    assert found == group
    assert found.results[0].backend is other
    assert other.connections.client.restore_group("g").counts().total == 2
    assert app.GroupResult.restore("g") == group


def test_a_group_that_was_deleted_or_never_saved_is_none(backend: StreamResultsBackend) -> None:
    app = backend.app
    app.GroupResult("g", [app.AsyncResult("a")]).save()
    assert app.GroupResult.restore("g") is not None

    app.GroupResult("g").delete()

    assert app.GroupResult.restore("g") is None
    assert app.GroupResult.restore("none") is None


# -- what a process remembers -----------------------------------------------------------------------------------------


def test_results_are_kept_where_that_is_asked_for(folded: Wiring) -> None:
    kept, read = backend_of(folded, result_cache_max=10), backend_of(folded)
    for backend in (kept, read):
        backend.store_result("t", 1, states.SUCCESS)
        backend.get_task_meta("t")

    assert kept.is_cached("t")
    assert not read.is_cached("t")


def test_what_is_kept_is_shared_by_no_two_results(folded: Wiring) -> None:
    """Results write into their metas: Celery puts their children there."""
    backend = backend_of(folded, result_cache_max=10)
    backend.store_result("t", 1, states.SUCCESS)
    metas = []
    for join in (False, True, False, True):
        result = backend.app.AsyncResult("t")
        if join:
            ResultSet([result], app=backend.app).join_native(timeout=10)
        else:
            result.get(timeout=10)
        metas.append(result._cache)

    assert all(meta["result"] == 1 for meta in metas)
    assert backend.is_cached("t")
    assert len({id(meta) for meta in [*metas, backend._cache["t"]]}) == len(metas) + 1


def test_what_a_wait_was_told_is_not_unlearnt(memory_wiring: Wiring) -> None:
    here, other = backend_of(memory_wiring), backend_of(memory_wiring)
    try:
        # Nothing is folded: the wait hears of it in the topic, and no lookup shows anything.
        other.store_result("before", 0, states.SUCCESS)
        seen: list[Any] = []
        here.app.AsyncResult("t").then(lambda result: seen.append(result.result))
        engine = here.connections.client._engine
        assert engine is not None
        eventually(lambda: any("read up to" in engine.describe(partition) for partition in range(4)))
        other.store_result("t", 1, states.SUCCESS)
        eventually(lambda: seen == [1])

        assert here.get_state("t") == "SUCCESS"
        assert here.get_state("before") == "PENDING"
    finally:
        close_all()
