"""
Exceptions that the result backend stores come back as themselves where somebody has listed them, and safely elsewhere.

We test these aspects: who may list a class, tasks among them; what nobody lists; what is shown of where it was raised;
control exceptions, hostile records and those that were stored as a dict.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import celery
import pytest
from celery import states
from celery.exceptions import ImproperlyConfigured, TaskRevokedError

from streamresults.errors import RemoteTaskError, SecurityError
from tests.celery_desk import backend_of, elsewhere
from tests.waiting import eventually

if TYPE_CHECKING:
    from streamresults.celery import StreamResultsBackend
    from streamresults.wiring import Wiring


# -- what comes back as itself ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("option", ["throws", "autoretry_for", "retry_for"])
def test_tasks_list_what_they_say_they_throw_or_retry(backend: StreamResultsBackend, option: str) -> None:
    error = type(f"Of_{option}", (Exception,), {"__module__": __name__})

    @backend.app.task(shared=False, **{option: (error,)})  # type: ignore[untyped-decorator]
    def order() -> None:
        """Never called."""

    backend.store_result("t", error("x"), states.FAILURE)

    assert type(backend.get_result("t")) is error


def test_what_a_setting_lists_comes_back_as_itself(folded: Wiring) -> None:
    class Rare(Exception):
        """Of a name that only a setting could list."""

    Rare.__qualname__ = "Rare"
    backend = backend_of(folded, streamresults_allow=[Rare])

    backend.store_result("t", Rare("x"), states.FAILURE)

    assert type(backend.get_result("t")) is Rare


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


# -- what does not ----------------------------------------------------------------------------------------------------


def test_an_exception_that_nobody_lists_is_a_remote_task_error(backend: StreamResultsBackend) -> None:
    class Hidden(Exception):
        pass

    backend.store_result("t", Hidden("x"), states.FAILURE)

    found = backend.get_result("t")
    assert type(found) is RemoteTaskError
    assert found.type_name.endswith("Hidden")


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
    backend.store_result("u", SystemExit("x"), states.FAILURE)

    assert [type(backend.get_result(task_id)) for task_id in ("t", "u")] == [RemoteTaskError, RemoteTaskError]


def test_an_exception_that_was_stored_as_a_dict_can_be_read(backend: StreamResultsBackend) -> None:
    backend.store_result("t", {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}, "FAILURE")
    backend.store_result("u", {"step": 3}, "FAILURE")

    assert repr(backend.get_result("t")) == "ValueError('x')"
    assert backend.get_state("u") == "FAILURE"
    assert type(backend.get_result("u")) is RemoteTaskError


# -- Celery's own -----------------------------------------------------------------------------------------------------


def test_a_revoked_task_has_celerys_own_error(backend: StreamResultsBackend) -> None:
    backend.mark_as_revoked("t", "terminated", request=None)

    found = backend.get_result("t")
    assert (type(found), found.args) == (TaskRevokedError, ("terminated",))


def test_a_retry_without_a_reason_has_no_result(backend: StreamResultsBackend) -> None:
    backend.mark_as_retry("t", None)

    meta = backend.get_task_meta("t")
    assert (meta["status"], meta["result"]) == ("RETRY", None)


# -- text that UTF-8 cannot carry, as names of files have it -----------------------------------------------------------


def test_a_lone_surrogate_costs_neither_the_exception_nor_its_traceback(folded: Wiring) -> None:
    backend = backend_of(folded)
    backend.store_result("t", ValueError("bad \udcff"), states.FAILURE, traceback="in file \udcff")

    other = backend_of(folded)
    eventually(lambda: other.get_state("t") == states.FAILURE)
    meta = other.get_task_meta("t")
    assert type(meta["result"]) is ValueError
    assert "bad \\udcff" in str(meta["result"])
    assert meta["traceback"] == "in file \\udcff"


def test_a_lone_surrogate_in_what_was_stored_as_a_dict_is_read(backend: StreamResultsBackend) -> None:
    stored = {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": ["bad \udcff", object]}

    found = backend.exception_to_python(stored)

    assert type(found) is ValueError
    assert "bad \\udcff" in str(found)


def test_of_a_traceback_of_megabytes_both_ends_are_kept(backend: StreamResultsBackend) -> None:
    backend.store_result("t", ValueError("y" * 2_000_000), states.FAILURE, traceback="a" * 2_000_000 + "z")

    meta = backend.get_task_meta("t")
    assert type(meta["result"]) is ValueError
    assert meta["traceback"].startswith("aaa")
    assert meta["traceback"].endswith("z")
    assert len(meta["traceback"]) <= backend.settings.exception_traceback_max


@pytest.mark.parametrize("name", ["cimpl:KafkaException", "os:nope", "nodots", ""])
def test_a_name_to_list_that_does_not_exist_is_said_to_be_the_settings(memory_wiring: Wiring, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="streamresults_allow"):
        backend_of(memory_wiring, streamresults_allow=[name])
