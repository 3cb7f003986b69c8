"""What is known of a task or an event, as plain facts: the one form that get, wait, tail and replay show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.exits import Exit, code_of
from streamresults.cli.output import block
from streamresults.cli.text import as_json, moment, plain, printable
from streamresults.errors import RemoteTaskError, SecurityError, StreamResultsError
from streamresults.events import states
from streamresults.events.payloads import check_accepted, check_plain

if TYPE_CHECKING:
    from streamresults.client import Result
    from streamresults.client.provenance import Decoding
    from streamresults.events.event import Event, ExceptionNode

#: Ended, and not as its caller hoped.
_FAILED: Final = frozenset({states.FAILURE, states.REVOKED, states.REJECTED, states.IGNORED})
#: What a tombstone is shown as.
FORGOTTEN: Final = "FORGOTTEN"
#: An event as one line: time, place, state, id, name, result.
USUAL_LINE: Final = "%T %p@%o %s %i %n %r"
_TOKEN: Final = re.compile(r"%(.?)|\\(.?)", re.DOTALL)
_LETTERS: Final = "insrpoT%"
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\"}


def event_facts(event: Event, decoding: Decoding, *, fetching: bool = False) -> dict[str, Any]:
    """
    Return what an event says; a payload that cannot be read is said in ``unreadable``.

    Args:
        fetching: A payload that rests in the payload store is read there, and is not shown as where it rests: for one
            task, not for a whole log.
    """
    facts: dict[str, Any] = {
        "task_id": event.task_id,
        "state": event.state,
        "name": event.name or None,
        "result": None,
        "error": _error(event.exception[0]) if event.exception else None,
        "attempt": event.attempt or None,
        "started_at": moment(event.started_at_us / 1000) or None,
        "occurred_at": moment(event.occurred_at_us / 1000) or None,
        "runtime": event.runtime if event.runtime >= 0 else None,
        "worker": event.worker or None,
    }
    payload = event.payload
    if payload.reference is not None:  # also where it is to be read, and cannot be
        facts["result"] = {"uri": payload.reference.uri, "size": payload.reference.size}
    if payload.body is not None or (payload.reference is not None and fetching):
        try:
            check_plain(payload)
            check_accepted(payload.content_type, decoding.accept)  # before anything is decompressed for it
            body = decoding.bodies.body(payload)
            value = None if body is None else decoding.serializers.decode(payload.content_type, body)
        except StreamResultsError as exc:
            facts["unreadable"] = f"{type(exc).__name__}: {exc}"
        else:
            facts["result"] = plain(value)
    return facts


def _error(node: ExceptionNode) -> dict[str, Any]:
    return {"type": node.type_name, "message": node.message}


def result_facts(result: Result, decoding: Decoding, topic: str, *, traceback: bool = False) -> dict[str, Any]:
    """Return what is known of a task and what that is based on."""
    facts: dict[str, Any] = {"task_id": result.task_id, "state": states.UNKNOWN}
    if result.found:
        try:
            facts = event_facts(result.event, decoding, fetching=True)
            if facts["error"] is not None:
                facts["error"]["revived"] = not isinstance(result.exception, RemoteTaskError | SecurityError)
            if traceback:
                facts["traceback"] = result.traceback
        except StreamResultsError as exc:
            facts["unreadable"] = f"{type(exc).__name__}: {exc}"
    position = result.position
    facts["appended_at"] = moment(result.appended_ms) or None
    facts["position"] = position and {"topic": topic, "partition": position.partition, "offset": position.offset}
    facts["basis"] = str(result.basis)
    facts["view_age"] = result.as_of
    facts["dead_letter"] = result.mark and {"reason": result.mark.reason, "place": result.mark.place}
    facts["uncovered"] = result.uncovered or None
    return facts


def result_code(result: Result) -> Exit:
    """Return the exit code of what is known of a task."""
    if result.ready:
        try:
            result.event  # noqa: B018 -- decoding is what may fail
        except StreamResultsError as exc:
            return code_of(exc)
        return Exit.TASK_FAILED if result.state in _FAILED else Exit.OK
    if result.mark is not None:
        return Exit.DEAD_LETTERED
    if not result.found:
        return Exit.UNKNOWN if result.basis == "full" else Exit.NOT_YET_COVERED
    return Exit.OK


def outcome_text(facts: dict[str, Any]) -> str:
    """Return result or error in one line."""
    error = facts.get("error")
    if error:
        kind = error["type"].removeprefix("builtins:")
        return printable(f"{kind}: {error['message']}" if error["message"] else kind)
    if facts.get("unreadable"):
        return printable(f"unreadable: {facts['unreadable']}")
    return printable(as_json(facts.get("result")))


def place_text(facts: dict[str, Any]) -> str:
    """Return where the event stands, such as ``results[2]@1841``."""
    position = facts.get("position")
    return f"{position['topic']}[{position['partition']}]@{position['offset']}" if position else ""


def show(facts: dict[str, Any]) -> None:
    """Write one task for people."""
    error, letter = facts.get("error"), facts.get("dead_letter")
    age = facts.get("view_age")
    runtime = facts.get("runtime")
    based = f"basis {facts['basis']}" + ("" if age is None else f", the view was written {age:.1f} s before")
    known = facts["state"] != states.UNKNOWN
    block(
        [
            ("task", printable(facts["task_id"])),
            ("name", printable(facts.get("name") or "")),
            ("state", printable(facts["state"])),
            ("error" if error else "result", outcome_text(facts) if known else ""),
            ("revived", "" if not error or "revived" not in error else ("yes" if error["revived"] else "no")),
            ("attempt", str(facts.get("attempt") or "")),
            ("started", facts.get("started_at") or ""),
            ("happened", facts.get("occurred_at") or ""),
            ("runtime", "" if runtime is None else f"{runtime:.3f} s"),
            ("appended", facts.get("appended_at") or ""),
            ("worker", printable(facts.get("worker") or "")),
            ("record", place_text(facts)),
            ("as of", based),
            ("dead", printable(f"{letter['reason']}; its bytes: {letter['place']}") if letter else ""),
            ("uncovered", facts.get("uncovered") or ""),
        ]
    )
    for line in (facts.get("traceback") or "").splitlines():
        print("  " + printable(line))


def event_form(text: str) -> str:
    """
    Read a form of :func:`event_line`.

    Raises:
        BadParameter: It has a token that stands for nothing.
    """
    for token in _TOKEN.finditer(text):
        known = token[1] in tuple(_LETTERS) if token[1] is not None else token[2] in _ESCAPES
        if not known:
            msg = f"{token[0]!r} is no token. Known: {' '.join('%' + letter for letter in _LETTERS)} \\t \\n \\\\."
            raise click.BadParameter(msg)
    return text


def event_line(form: str, facts: dict[str, Any]) -> str:
    """Return an event in a form of kcat's tokens, which :func:`event_form` has read."""
    values = {
        "i": facts["task_id"],
        "n": facts["name"] or "-",
        "s": facts["state"],
        "r": "" if facts["state"] == FORGOTTEN else outcome_text(facts),
        "p": str(facts["partition"]),
        "o": str(facts["offset"]),
        "T": facts["appended_at"],
        "%": "%",
    }

    def replaced(token: re.Match[str]) -> str:
        if token[1] is not None:
            return printable(values[token[1]])
        return _ESCAPES[token[2]]

    return _TOKEN.sub(replaced, form)
