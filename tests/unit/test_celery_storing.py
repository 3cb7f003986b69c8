"""
What the result backend stores is read again, here at once and elsewhere as soon as it is folded; all in memory.

We test these aspects: states and which of them stand; ids of any kind; payloads as kombu makes them; what is known of
the call and of its children; expiry; Celery's keys; what stores and reads fail with.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from celery import states
from celery.app.task import Context
from celery.exceptions import BackendGetMetaError, BackendStoreError
from kombu.exceptions import ContentDisallowed, EncodeError
from kombu.serialization import dumps

from streamresults.errors import PublishFailed, StoreUnavailable
from tests.celery_desk import backend_of, elsewhere
from tests.compacting import compacting
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from streamresults.celery import StreamResultsBackend
    from streamresults.wiring import Wiring


# -- states -----------------------------------------------------------------------------------------------------------


def test_what_is_stored_is_read_at_once_without_any_compactor(memory_wiring: Wiring) -> None:
    backend = backend_of(memory_wiring)

    backend.store_result("t", {"a": [1, 2]}, states.SUCCESS)

    meta = backend.get_task_meta("t")
    assert (meta["status"], meta["result"], meta["task_id"]) == ("SUCCESS", {"a": [1, 2]}, "t")
    assert meta["children"] == []
    assert meta["traceback"] is None


def test_what_is_stored_is_read_by_other_processes(folded: Wiring) -> None:
    backend_of(folded).store_result("t", 42, states.SUCCESS)
    other = backend_of(folded)

    eventually(lambda: other.get_state("t") == "SUCCESS")

    assert other.get_result("t") == 42


def test_the_newest_state_of_this_process_is_seen_at_once(backend: StreamResultsBackend) -> None:
    for number in range(50):
        backend.store_result("t", {"done": number}, "PROGRESS")

        assert backend.get_task_meta("t")["result"] == {"done": number}


def test_an_unknown_task_is_pending(backend: StreamResultsBackend) -> None:
    assert backend.get_task_meta("none") == {"status": "PENDING", "result": None, "task_id": "none"}


def test_success_is_final_and_a_late_failure_never_overwrites(backend: StreamResultsBackend) -> None:
    backend.store_result("t", 1, states.SUCCESS)
    backend.store_result("t", ValueError("late"), states.FAILURE)
    backend.store_result("t", None, states.STARTED)

    assert backend.get_result("t") == 1
    assert elsewhere(backend, "t").state == "SUCCESS"


def test_a_late_started_never_hides_a_failure(backend: StreamResultsBackend) -> None:
    backend.store_result("t", ValueError("no"), states.FAILURE)
    backend.store_result("t", {}, states.STARTED)

    assert backend.get_state("t") == "FAILURE"
    assert elsewhere(backend, "t").state == "FAILURE"


@pytest.mark.parametrize("task_id", [UUID(int=5), b"some-bytes", "text"])
def test_ids_may_be_uuids_and_bytes(backend: StreamResultsBackend, task_id: Any) -> None:
    backend.store_result(task_id, 1, states.SUCCESS)

    as_text = task_id.decode() if isinstance(task_id, bytes) else str(task_id)
    assert backend.get_result(as_text) == backend.get_result(task_id) == 1


@pytest.mark.parametrize("task_id", ["", None])
def test_an_empty_id_is_refused(backend: StreamResultsBackend, task_id: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        backend.store_result(task_id, 1, states.SUCCESS)
    with pytest.raises(ValueError, match="empty"):
        backend.get_task_meta(task_id)


def test_what_tools_read_by_celerys_key_is_there(backend: StreamResultsBackend) -> None:
    task_id = str(uuid4())
    backend.store_result(task_id, 5, states.SUCCESS)

    found = backend.decode_result(backend.get(backend.get_key_for_task(task_id)))

    assert (found["status"], found["result"]) == ("SUCCESS", 5)
    assert backend.get(backend.get_key_for_task("none")) is None


# -- payloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_payloads_are_byte_for_byte_what_kombu_makes(folded: Wiring, serializer: str) -> None:
    value = {"n": 1, "list": [1.5, None, "ü"]}
    backend = backend_of(folded, result_serializer=serializer, accept_content=[serializer])

    backend.store_result("t", value, states.SUCCESS)

    content_type, _, body = dumps(value, serializer=serializer)
    expected = body.encode() if isinstance(body, str) else body
    assert elsewhere(backend, "t").encoded() == (content_type, expected)
    other = backend_of(folded, result_serializer="json", accept_content=[serializer])
    assert other.get_result("t") == value


def test_content_that_is_not_accepted_is_not_decoded(folded: Wiring) -> None:
    backend_of(folded, result_serializer="pickle", accept_content=["pickle"]).store_result("t", 1, states.SUCCESS)
    other = backend_of(folded)
    elsewhere(other, "t")

    with pytest.raises(ContentDisallowed):
        other.get_task_meta("t")


@pytest.mark.parametrize(
    ("conf", "accepted"),
    [
        ({"accept_content": ["yaml"]}, {"application/x-yaml"}),
        ({"accept_content": ["yaml"], "result_accept_content": ["json"]}, {"application/json"}),
    ],
)
def test_what_results_accept_stands_before_what_everything_accepts(
    folded: Wiring, conf: dict[str, Any], accepted: set[str]
) -> None:
    assert backend_of(folded, **conf).accept == accepted


def test_what_has_no_form_is_kombus_error_and_nothing_is_stored(backend: StreamResultsBackend) -> None:
    with pytest.raises(EncodeError):
        backend.store_result("t", object(), states.SUCCESS)

    assert elsewhere(backend, "t").state == "UNKNOWN"


def test_large_payloads_are_compressed_in_a_way_that_everybody_reads(memory_wiring: Wiring) -> None:
    backend = backend_of(memory_wiring, result_compression="bzip2")

    backend.store_result("t", "x" * 100_000, states.SUCCESS)

    with compacting(memory_wiring):
        found = elsewhere(backend, "t")
    assert found.event.payload.content_encoding == "zstd"
    assert found.result == "x" * 100_000


# -- what stands beside the value -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires", "milliseconds"), [(0, 0), (None, 0), (90, 90_000), (timedelta(hours=1), 3_600_000)]
)
def test_results_expire_as_celery_is_told(folded: Wiring, expires: Any, milliseconds: int) -> None:
    backend = backend_of(folded, result_expires=expires)

    backend.store_result("t", 1, states.SUCCESS)

    assert elsewhere(backend, "t").event.expires_after_ms == milliseconds


def test_failures_may_expire_at_a_time_of_their_own(folded: Wiring) -> None:
    backend = backend_of(folded, result_failure_expires=7)

    backend.store_result("f", ValueError(), states.FAILURE)
    backend.store_result("s", 1, states.SUCCESS)

    assert elsewhere(backend, "f").event.expires_after_ms == 7_000
    assert elsewhere(backend, "s").event.expires_after_ms == 86_400_000


def test_what_is_known_of_the_call_is_stored_if_asked_for(folded: Wiring) -> None:
    request = Context(
        id="t",
        task="shop.charge",
        args=[1],
        kwargs={"b": 2},
        hostname="w@h",
        retries=2,
        delivery_info={"routing_key": "fast"},
        stamped_headers=["customer"],
        stamps={"customer": ["c1"], "other": ["x"]},
        group="g",
        parent_id="p",
        root_id="r",
    )
    backend = backend_of(folded, result_extended=True)

    backend.store_result("t", 1, states.SUCCESS, request=request)

    meta = backend.get_task_meta("t")
    assert {name: meta[name] for name in ("name", "args", "kwargs", "worker", "retries", "queue")} == {
        "name": "shop.charge",
        "args": [1],
        "kwargs": {"b": 2},
        "worker": "w@h",
        "retries": 2,
        "queue": "fast",
    }
    assert (meta["stamped_headers"], meta["customer"]) == (["customer"], ["c1"])
    assert "other" not in meta
    assert (meta["group_id"], meta["parent_id"]) == ("g", "p")


def test_nothing_is_known_of_the_call_otherwise(backend: StreamResultsBackend) -> None:
    backend.store_result("t", 1, states.SUCCESS, request=Context(id="t", task="shop.charge", args=[1]))

    assert not {"name", "args", "kwargs"} & set(backend.get_task_meta("t"))


def test_children_are_celerys_tuples(backend: StreamResultsBackend) -> None:
    app = backend.app
    plain, nested = app.AsyncResult("c1"), app.GroupResult("g", [app.AsyncResult("c2"), app.AsyncResult("c3")])
    chained = app.AsyncResult("c4", parent=app.AsyncResult("c0"))
    for number, children in enumerate([[plain], [plain, nested], [chained]]):
        request = Context(id="t")
        request.children.extend(children)

        backend.store_result(f"t{number}", 1, states.SUCCESS, request=request)

        found = app.AsyncResult(f"t{number}").children
        assert found == children
        assert [one.parent for one in found] == [one.parent for one in children]
    assert elsewhere(backend, "t1").child_ids == ("c1", "c2", "c3")


def test_the_time_of_the_end_is_in_the_applications_timezone(folded: Wiring) -> None:
    backend = backend_of(folded, timezone="Asia/Tokyo")

    backend.store_result("t", 1, states.SUCCESS)
    backend.store_result("u", 1, "PROGRESS")

    assert backend.get_task_meta("t")["date_done"].endswith("+09:00")
    assert backend.get_task_meta("u")["date_done"] is None


# -- services that are away -------------------------------------------------------------------------------------------


def test_a_result_that_is_not_stored_is_celerys_error(
    backend: StreamResultsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = PublishFailed("no brokers", task_id="t", written=None)
    monkeypatch.setattr(backend.connections, "publish", _raising(lost))

    with pytest.raises(BackendStoreError) as failed:
        backend.store_result("t", 1, states.SUCCESS)

    assert (failed.value.task_id, failed.value.state, failed.value.__cause__) == ("t", "SUCCESS", lost)


def test_storing_is_tried_again_as_often_as_celery_is_told(folded: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_of(
        folded,
        result_backend_always_retry=True,
        result_backend_max_retries=3,
        result_backend_base_sleep_between_retries_ms=1,
    )
    seen: list[Any] = []

    def publish(event: Any, **_: Any) -> None:
        seen.append(event.event_id)
        raise PublishFailed("no brokers", task_id="t", written=None)

    monkeypatch.setattr(backend.connections, "publish", publish)

    with pytest.raises(BackendStoreError):
        backend.store_result("t", 1, states.SUCCESS)

    assert len(seen) == 4
    assert len(set(seen)) == 1, "the same event, so that no second one can stand beside the first"


def test_a_state_that_cannot_be_read_is_celerys_error(folded: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    for conf in ({}, {"result_backend_always_retry": True, "result_backend_max_retries": 0}):
        backend = backend_of(folded, **conf)
        monkeypatch.setattr(backend.connections.client, "lookup_many", _raising(StoreUnavailable("away")))

        with pytest.raises(BackendGetMetaError) as failed:
            backend.get_task_meta("t")

        assert failed.value.task_id == "t"


def _raising(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


# -- records that are too large ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1_500_000, 1_047_900], ids=["alone", "with the rest"])
@pytest.mark.parametrize("store", ["", "payloads"])
@pytest.mark.parametrize("result", [3, ValueError("no")], ids=repr)
def test_arguments_that_are_too_large_cost_nobody_the_result(
    memory_wiring: Wiring, tmp_path: Path, store: str, size: int, result: Any
) -> None:
    """Also where a payload store keeps large results."""
    state = states.FAILURE if isinstance(result, Exception) else states.SUCCESS
    options = {"payload_store": (tmp_path / store).as_uri(), "payload_store_above": 100_000} if store else {}
    backend = backend_of(memory_wiring, result_extended=True, result_backend_transport_options=options)
    request = Context(id="t", task="shop.charge", args=["x" * size], kwargs={"a": 1}, hostname="w")

    backend.store_result("t", result, state, request=request)

    meta = backend.get_task_meta("t")
    assert (meta["status"], repr(meta["result"])) == (state, repr(result))
    assert (meta["name"], meta["worker"], meta["args"], meta["kwargs"]) == ("shop.charge", "w", None, None)


def test_that_arguments_were_left_out_is_said(memory_wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is said to have failed."""
    backend = backend_of(memory_wiring, result_extended=True)

    backend.store_result("t", 3, states.SUCCESS, request=Context(id="t", args=["x" * 1_500_000]))

    (said,) = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "t, SUCCESS: stored without the args and kwargs" in said


def test_a_result_that_is_too_large_is_celerys_error(memory_wiring: Wiring) -> None:
    backend = backend_of(memory_wiring, result_extended=True)

    with pytest.raises(BackendStoreError, match="payload_store"):
        backend.store_result("t", "x" * 1_500_000, states.SUCCESS, request=Context(id="t", args=[1]))

    assert backend.get_state("t") == "PENDING"
