"""``streamresults publish``: one event of a task, acknowledged before the command returns."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from streamresults.cli.options import Invocation, common_options, duration, pass_invocation, word
from streamresults.cli.options import task_id as read_task_id
from streamresults.cli.output import emit_rows
from streamresults.deadline import Deadline
from streamresults.errors import PublishFailed

if TYPE_CHECKING:
    from streamresults.settings import Settings
    from streamresults.wiring import Wiring


def _json(text: str) -> tuple[Any]:
    """Read a value as JSON; in a tuple, so that null is a result too."""
    try:
        return (json.loads(text, parse_constant=_no_constant, parse_float=_finite),)
    except ValueError as exc:
        msg = f"not JSON ({exc}); nothing was sent. A text needs its quotes: '\"text\"'."
        raise click.BadParameter(msg) from exc


def _no_constant(name: str) -> Any:
    """Refuse what Python's reader takes beyond JSON: it would be shown as null."""
    msg = f"JSON has no {name}"
    raise ValueError(msg)


def _finite(text: str) -> float:
    """Read a number; refuse one that no float holds."""
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text} is too large for a number"
        raise ValueError(msg)
    return number


@click.command(
    "publish",
    help="Publish one event of a task: how it ended, or how far it is. Prints where it stands in the log.",
)
@click.argument("task_id", type=read_task_id, metavar="ID")
@click.option(
    "--state",
    type=word,
    metavar="STATE",
    help="Its state, any word. [default: SUCCESS; FAILURE with --error, PROGRESS with --progress, RETRY with --retry]",
)
@click.option("--result", type=_json, metavar="JSON", help="Its result.")
@click.option("--error", metavar="MESSAGE", help="The message of the exception that it failed with.")
@click.option("--progress", type=_json, metavar="JSON", help="Report how far it is, with any value; it goes on.")
@click.option("--retry", metavar="MESSAGE", help="This run failed with this message, and another one will follow.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Which run of the task it is; the first is 1.")
@click.option("--name", metavar="NAME", help="The task's registered name.")
@click.option("--expires", type=duration, metavar="DURATION", help="Hidden after this; 0: when retention takes it.")
@click.option("--timeout", type=duration, default="10", show_default="10 s", help="For the acknowledgement.")
@common_options(hidden=True)
@pass_invocation
def command(
    invocation: Invocation,
    *,
    task_id: str,
    state: str | None,
    result: tuple[Any] | None,
    error: str | None,
    progress: tuple[Any] | None,
    retry: str | None,
    attempt: int | None,
    name: str | None,
    expires: float | None,
    timeout: float,
) -> int:
    """Publish one event."""
    stated = {"--result": result, "--error": error, "--progress": progress, "--retry": retry}
    state = _state_of(state, {name: what for name, what in stated.items() if what is not None})
    result, error = result or progress, error if error is not None else retry
    _check(task_id, state, result, error)
    with invocation.wiring(publish_timeout=timeout) as wiring:
        if expires is not None and expires > wiring.settings.longest_expiry:
            msg = f"{expires:g} s is longer than the longest expiry, {wiring.settings.longest_expiry:g} s."
            raise click.BadParameter(msg, param_hint="--expires")
        _find_topic(wiring, timeout)
        publisher = wiring.publisher()
        try:
            event = publisher.event(
                task_id,
                state,
                name=name or "",
                attempt=attempt or 0,
                expires=expires,
                **_outcome(wiring.settings, result, error),
            )
            pending = publisher.send(event, timeout)
            try:
                at = pending.position(timeout)
            except TimeoutError as exc:
                msg = f"task {task_id!r}: Kafka did not acknowledge within {timeout:g} s, the outcome is unknown"
                raise PublishFailed(msg, task_id=task_id, event_id=event.event_id.hex()) from exc
        finally:
            publisher.close(0)
        topic = wiring.settings.topic
    if invocation.output == "table":
        click.echo(f"{topic}[{at.partition}]@{at.offset}")
    else:
        place = {"topic": topic, "topic_id": at.topic_id, "partition": at.partition, "offset": at.offset}
        emit_rows([{"task_id": task_id, "state": state, "position": place}], (), invocation.output)
    return 0


def _state_of(stated: str | None, what: dict[str, object]) -> str:
    """Return the state that the options amount to, and refuse those that contradict each other."""
    from streamresults.events import states
    from streamresults.publisher.making import NO_PROGRESS
    from streamresults.publisher.saying import PROGRESS

    if len(what) > 1:
        msg = f"one event says one thing: {' or '.join(what)}, not both."
        raise click.UsageError(msg)
    usual = {"--error": states.FAILURE, "--progress": PROGRESS, "--retry": states.RETRY}
    (option,) = what or ("",)
    state = stated or usual.get(option, states.SUCCESS)
    if option == "--progress" and state in NO_PROGRESS:
        msg = f"{state} is no progress: leave --progress out, or name a state that does not say more."
        raise click.UsageError(msg)
    if option == "--retry" and state != states.RETRY:
        msg = f"--retry is the state {states.RETRY}, not {state}."
        raise click.UsageError(msg)
    return state


def _check(task_id: str, state: str, result: tuple[Any] | None, error: str | None) -> None:
    """Refuse what makes no sense before anything is opened."""
    from streamresults.events.event import GROUP_PREFIX

    if task_id.startswith(GROUP_PREFIX):
        msg = f"ids that begin with {GROUP_PREFIX!r} are reserved for saved groups."
        raise click.BadParameter(msg, param_hint="ID")
    from streamresults.events import states

    if error is not None and state not in states.EXCEPTION:
        msg = f"--error belongs to {', '.join(sorted(states.EXCEPTION))}, not to {state}."
        raise click.UsageError(msg)
    if result is not None and state in states.EXCEPTION:
        msg = f"{state} carries an exception: use {'--retry' if state == states.RETRY else '--error'}, not --result."
        raise click.UsageError(msg)
    if state == states.FAILURE and error is None:
        raise click.UsageError("FAILURE needs --error: what did it fail with?")


def _find_topic(wiring: Wiring, timeout: float) -> None:
    """Ask for the topic first: one that is missing is said at once, where a producer would go on hoping."""
    inspector = wiring.inspector()
    try:
        inspector.describe(Deadline(timeout))
    finally:
        inspector.close()


def _outcome(settings: Settings, result: tuple[Any] | None, error: str | None) -> dict[str, Any]:
    if result is not None:
        return {"result": result[0]}
    if error is None:
        return {}
    from streamresults.events.exceptions import capture
    from streamresults.events.payloads import default_registry

    nodes, text = capture(Exception(error), default_registry(settings.payload_depth_max).by_name(settings.serializer))
    return {"exception": nodes, "traceback": text}
