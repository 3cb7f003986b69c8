"""Sends the body of a chord that is complete, or has it fail: as Celery's own Redis backend does, claim included."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from celery.canvas import maybe_signature
from celery.exceptions import ChordError

from streamresults.celery.chord_body import values_of
from streamresults.celery.chord_layout import FAILED, SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.celery.chord_body import Part
    from streamresults.celery.chord_finishing import Completed

_log: Final = logging.getLogger("streamresults.celery")
#: Seconds for which a claim is held at least while a body is sent. Shorter sends it twice where a broker is slow;
#: longer leaves the body of a dispatcher that died unsent for as long.
_LEAST: Final = 5.0
#: The same where tries or connecting have no bound.
_UNBOUNDED: Final = 60.0


class Sending:
    """
    Sends bodies for one application. Thread-safe.

    Args:
        chord_error: Has a body fail: the backend's ``chord_error_from_stack``.
        value_of: Returns the value of a member's end, or its exception.
    """

    def __init__(self, app: Any, chord_error: Callable[[Any, Exception], Any], value_of: Callable[[Part], Any]) -> None:
        self._app: Final = app
        self._chord_error: Final = chord_error
        self._value_of: Final = value_of

    def __call__(self, chord: Completed, hold: Callable[[int], bool]) -> str:
        """
        Send the body of a chord, under the id that it was given when the chord began.

        Returns:
            What was done; empty where another process has taken the claim over before.
        """
        group_id = chord.layout.group_id
        body = maybe_signature(chord.body, app=self._app)
        try:
            values = values_of(chord.layout, chord.parts, chord.added, self._value_of)
        except Exception as exc:  # noqa: BLE001 -- whatever a member's value raises when it is decoded
            error = exc if isinstance(exc, ChordError) else _caused(f"Join error: {exc!r}", exc)
            if not self._held(group_id, body, hold):
                return ""
            _log.exception(
                "chord %s raised: %r", group_id, error, extra={"action": "chord_error", "group_id": group_id}
            )
            self._chord_error(body, error)
            return FAILED
        if not self._held(group_id, body, hold):
            return ""
        try:
            self._publish(body, values)
        except Exception as exc:  # noqa: BLE001 -- whatever a broker's client raises
            _log.exception(
                "chord %s: its body could not be sent", group_id, extra={"action": "chord_error", "group_id": group_id}
            )
            self._chord_error(body, _caused(f"Callback error: {exc!r}", exc))
            return FAILED
        return SENT

    def _publish(self, body: Any, values: list[Any]) -> None:
        retrying = getattr(self._app.amqp, "_retry_publish", None)  # from Celery 5.7 on
        if retrying is None:
            body.delay(values)
        else:
            retrying(body.delay, values)

    def _held(self, group_id: str, body: Any, hold: Callable[[int], bool]) -> bool:
        if hold(math.ceil(self._seconds(body) * 1000)):
            return True
        _log.warning(
            "chord %s: reading its parts took longer than its claim was held for; another process sends its body",
            group_id,
            extra={"action": "chord_claim_lost", "group_id": group_id},
        )
        return False

    def _seconds(self, body: Any) -> float:
        """Return how long publishing a message may take: connecting for every try, the pauses, and one more."""
        conf = self._app.conf
        policy = {**(conf.task_publish_retry_policy or {}), **(body.options.get("retry_policy") or {})}
        retries = policy.get("max_retries", 3) if body.options.get("retry", conf.task_publish_retry) else 0
        timeout = conf.broker_connection_timeout
        if retries is None or timeout is None:
            return _UNBOUNDED  # somebody has asked for no bound
        pause = float(policy.get("interval_max", 1))
        return max(_LEAST, (int(retries) + 2) * float(timeout) + int(retries) * pause)


def _caused(message: str, cause: Exception) -> ChordError:
    error = ChordError(message)
    error.__cause__ = cause
    return error
