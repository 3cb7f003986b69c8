"""Storing, reading and forgetting by the result backend, as Celery calls it; on the topic and the store in memory."""

from __future__ import annotations

import pickle
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import celery
import pytest
from celery import Celery, states
from celery.app.task import Context
from celery.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured, TaskRevokedError
from kombu.exceptions import ContentDisallowed, EncodeError
from kombu.serialization import dumps

from streamresults.celery import StreamResultsBackend
from streamresults.celery.process import close_all
from streamresults.errors import PublishFailed, RemoteTaskError, SecurityError, StoreUnavailable
from tests.celery_desk import closing_backends, compacting, make_app
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.wiring import Wiring


@pytest.fixture
def folded(memory_wiring: Wiring) -> Iterator[Wiring]:
    """Give a wiring in memory whose topic is folded meanwhile."""
    with compacting(memory_wiring), closing_backends():
        yield memory_wiring


@pytest.fixture
def backend(folded: Wiring) -> StreamResultsBackend:
    """Give a backend of an application with Celery's defaults."""
    return backend_of(folded)


def backend_of(wiring: Wiring, **conf: Any) -> StreamResultsBackend:
    found: StreamResultsBackend = make_app(wiring, **conf).backend
    return found


def elsewhere(backend: StreamResultsBackend, task_id: str) -> Any:
    """Return what another process sees of a task once the view has folded all there is."""
    return backend.connections.wiring.client().lookup(task_id, fresh=True)


# -- finding it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["streamresults://k/t?redis=redis://r", "streamresults+kafka://k/t?redis=redis://r", "streamresults"]
)
def test_celery_finds_it_by_its_name(url: str) -> None:
    assert type(Celery(backend=url, set_as_current=False).backend) is StreamResultsBackend


def test_celery_finds_it_by_the_name_that_begins_with_redis() -> None:
    app = Celery(backend="redis-streamresults://r:6379/0?brokers=k:9092", set_as_current=False)

    assert type(app.backend) is StreamResultsBackend
    assert app.backend.settings.redis_url == "redis://r:6379/0"


def test_redis_is_still_celerys_own() -> None:
    assert type(Celery(backend="redis://r", set_as_current=False).backend).__module__ == "celery.backends.redis"


def test_every_thread_of_an_application_has_the_same_backend(backend: StreamResultsBackend) -> None:
    assert backend.thread_safe
    assert backend.app.backend is backend


def test_a_pickled_backend_is_the_same_one(folded: Wiring) -> None:
    backend = backend_of(folded, result_expires=60)
    backend.app.set_current()

    copy = pickle.loads(pickle.dumps(backend))

    assert (copy.url, copy.expires) == (backend.url, 60)
    assert copy.connections is backend.connections


def test_no_secret_is_in_its_uri() -> None:
    backend = Celery(backend="streamresults://me:AAA@k/t?redis=redis://:BBB@r", set_as_current=False).backend

    assert "AAA" not in backend.as_uri()
    assert "BBB" not in backend.as_uri()
    assert "AAA" in backend.as_uri(include_password=True)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"result_expires": timedelta(days=30)}, "longest_expiry"),
        ({"result_backend_transport_options": {"publish_timeout": -1}}, "publish_timeout"),
        ({"result_compression": "squash"}, "squash"),
    ],
)
def test_settings_that_cannot_hold_are_refused_at_once(conf: dict[str, Any], said: str) -> None:
    app = Celery(backend="streamresults://k/t?redis=redis://r", set_as_current=False)
    app.conf.update(conf)

    with pytest.raises(ImproperlyConfigured, match=said):
        _ = app.backend


def test_settings_of_both_worlds_are_taken_and_the_url_is_the_strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMRESULTS_NAMESPACE", "env")
    monkeypatch.setenv("STREAMRESULTS_TOPIC", "env")
    app = Celery(backend="streamresults://k/?publish_timeout=7", set_as_current=False)
    app.conf.update(
        redis_host="rhost",
        redis_password="a/b",
        redis_db=3,
        result_expires=60,
        result_compression="gzip",
        result_backend_transport_options={"publish_timeout": 5, "wait_timeout": 9, "topic": "opt"},
    )

    settings = app.backend.settings

    assert settings.redis_url == "redis://:a%2Fb@rhost:6379/3"
    assert (settings.result_expires, settings.compression, settings.wait_timeout) == (60, "gzip", 9)
    assert (settings.publish_timeout, settings.topic, settings.namespace) == (7, "opt", "env")


# -- storing and reading -------------------------------------------------------------------------------------------


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


def test_large_payloads_are_compressed_in_a_way_that_everybody_reads(memory_wiring: Wiring) -> None:
    backend = backend_of(memory_wiring, result_compression="bzip2")

    backend.store_result("t", "x" * 100_000, states.SUCCESS)

    with compacting(memory_wiring):
        found = elsewhere(backend, "t")
    assert found.event.payload.content_encoding == "zstd"
    assert found.result == "x" * 100_000


# -- exceptions ----------------------------------------------------------------------------------------------------


class OutOfStock(Exception):
    """An application's own, which cannot be pickled."""

    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(item)
        self.left = left


def test_a_listed_exception_comes_back_whole(backend: StreamResultsBackend) -> None:
    @backend.app.task(throws=(OutOfStock,), shared=False)  # type: ignore[untyped-decorator]
    def order() -> None:
        """Never called: what it says that it throws is what counts."""

    error = OutOfStock("tea", left=0)
    error.__cause__ = KeyError("shelf")
    backend.store_result("t", error, states.FAILURE, traceback="Traceback: there")

    meta = backend.get_task_meta("t")
    found = meta["result"]
    assert (type(found), found.args, found.left) == (OutOfStock, ("tea",), 0)
    assert type(found.__cause__) is KeyError
    assert meta["traceback"] == "Traceback: there"


def _failing_there() -> None:
    raise KeyError("shelf")


def test_what_is_raised_shows_where_it_was_raised_there(backend: StreamResultsBackend) -> None:
    """Behind the local frames, without any setting."""
    try:
        _failing_there()
    except KeyError as exc:
        backend.store_result("t", exc, states.FAILURE)

    assert "_failing_there" in "".join(traceback.format_exception(backend.get_result("t")))


def test_an_exception_that_nobody_lists_is_a_remote_task_error(backend: StreamResultsBackend) -> None:
    class Hidden(Exception):
        pass

    backend.store_result("t", Hidden("x"), states.FAILURE)

    found = backend.get_result("t")
    assert type(found) is RemoteTaskError
    assert found.type_name.endswith("Hidden")


def test_tasks_that_are_imported_late_list_theirs_too(backend: StreamResultsBackend) -> None:
    class Late(Exception):
        """Of a module that is imported after the first failure was read."""

    Late.__qualname__ = "Late"
    backend.store_result("t", Late("x"), states.FAILURE)
    assert type(backend.get_result("t")) is RemoteTaskError

    @backend.app.task(throws=(Late,), shared=False)  # type: ignore[untyped-decorator]
    def order() -> None:
        """Never called."""

    assert order.name
    assert type(backend.get_result("t")) is Late


def test_what_celery_stores_a_base_of_is_stored_itself(backend: StreamResultsBackend) -> None:
    class Unpicklable(ValueError):
        """Of which Celery can pickle an instance of the base alone."""

    stand_in = ValueError("x")
    error = Unpicklable("x")

    def handled() -> None:
        try:
            raise error
        except Unpicklable:
            backend.store_result("t", stand_in, states.FAILURE)

    handled()
    backend.store_result("other", stand_in, states.FAILURE)

    assert elsewhere(backend, "t").event.exception[0].qualname.endswith("Unpicklable")
    assert elsewhere(backend, "other").event.exception[0].qualname == "ValueError"


def test_what_a_setting_lists_comes_back_as_itself(folded: Wiring) -> None:
    class Rare(Exception):
        """Of a name that only a setting could list."""

    Rare.__qualname__ = "Rare"
    backend = backend_of(folded, streamresults_allow=[Rare])

    backend.store_result("t", Rare("x"), states.FAILURE)

    assert type(backend.get_result("t")) is Rare


def test_the_line_that_would_list_an_exception_is_logged(
    backend: StreamResultsBackend, caplog: pytest.LogCaptureFixture
) -> None:
    class Unlisted(Exception):
        """Of no list."""

    Unlisted.__qualname__ = "Unlisted"

    backend.store_result("t", Unlisted("x"), states.FAILURE)

    assert f'To list it: streamresults_allow = ["{__name__}:Unlisted"] in the configuration of Celery' in caplog.text


def test_a_record_that_names_no_exception_class_is_a_security_error_of_both_kinds(
    backend: StreamResultsBackend,
) -> None:
    named = {"exc_module": "os", "exc_type": "system", "exc_message": ["true"]}
    backend.store_result("t", named, "FAILURE")

    assert backend.get_state("t") == "FAILURE"
    found = backend.get_result("t")
    assert isinstance(found, celery.exceptions.SecurityError)
    assert isinstance(found, SecurityError)


def test_control_exceptions_are_never_rebuilt(folded: Wiring) -> None:
    backend = backend_of(folded, streamresults_allow=[celery.exceptions.Retry, SystemExit])

    backend.store_result("t", celery.exceptions.Retry("x"), states.FAILURE)

    assert type(backend.get_result("t")) is RemoteTaskError


@pytest.mark.parametrize("option", ["throws", "autoretry_for", "retry_for"])
def test_tasks_list_what_they_say_they_throw_or_retry(backend: StreamResultsBackend, option: str) -> None:
    error = type(f"Of_{option}", (Exception,), {"__module__": __name__})

    @backend.app.task(shared=False, **{option: (error,)})  # type: ignore[untyped-decorator]
    def order() -> None:
        """Never called."""

    backend.store_result("t", error("x"), states.FAILURE)

    assert type(backend.get_result("t")) is error


def test_a_revoked_task_has_celerys_own_error(backend: StreamResultsBackend) -> None:
    backend.mark_as_revoked("t", "terminated", request=None)

    found = backend.get_result("t")
    assert (type(found), found.args) == (TaskRevokedError, ("terminated",))


def test_a_retry_without_a_reason_has_no_result(backend: StreamResultsBackend) -> None:
    backend.mark_as_retry("t", None)

    assert backend.get_task_meta("t")["result"] is None


def test_an_exception_that_was_stored_as_a_dict_can_be_read(backend: StreamResultsBackend) -> None:
    backend.store_result("t", {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}, "FAILURE")
    backend.store_result("u", {"step": 3}, "FAILURE")

    assert repr(backend.get_result("t")) == "ValueError('x')"
    assert backend.get_state("u") == "FAILURE"
    assert type(backend.get_result("u")) is RemoteTaskError


# -- forgetting, groups, the cache ---------------------------------------------------------------------------------


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

    app.GroupResult("g").delete()

    assert app.GroupResult.restore("g") is None
    assert app.GroupResult.restore("none") is None


def test_results_are_kept_where_that_is_asked_for(folded: Wiring) -> None:
    kept, read = backend_of(folded, result_cache_max=10), backend_of(folded)
    for backend in (kept, read):
        backend.store_result("t", 1, states.SUCCESS)
        backend.get_task_meta("t")

    assert kept.is_cached("t")
    assert not read.is_cached("t")


# -- services that are away ----------------------------------------------------------------------------------------


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


def test_what_tools_read_by_celerys_key_is_there(backend: StreamResultsBackend) -> None:
    task_id = str(uuid4())
    backend.store_result(task_id, 5, states.SUCCESS)

    found = backend.decode_result(backend.get(backend.get_key_for_task(task_id)))

    assert (found["status"], found["result"]) == ("SUCCESS", 5)
    assert backend.get(backend.get_key_for_task("none")) is None


def test_what_another_process_forgets_is_pending_here_too(folded: Wiring) -> None:
    here, other = backend_of(folded), backend_of(folded)
    here.store_result("t", 1, states.SUCCESS)
    assert here.get_state("t") == "SUCCESS"

    other.forget("t")

    eventually(lambda: here.get_state("t") == "PENDING")


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
