"""``streamresults exceptions``: which exception types are in the topic, and what the allowlist says to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from streamresults.cli.exits import Exit
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.cli.output import Column, block, emit, emit_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.wiring import Wiring

#: Types that are told apart; names come from records. Beyond, they are counted together.
_TYPES_MAX: Final = 10_000
_OTHERS: Final = "(more types)"
_COLUMNS: Final = (
    Column("type", "TYPE"),
    Column("records", "RECORDS", right=True),
    Column("verdict", "VERDICT"),
    Column("rule", "RULE"),
    Column("task_id", "LAST TASK"),
)


@click.group("exceptions", invoke_without_command=True)
@common_options(hidden=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show exception types in the topic, and what the allowlist says to them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(Exit.USAGE)


def _bounds(function: Any) -> Any:
    function = click.option("--to", "end", default="end", show_default=True, metavar="BOUND", help="Where to stop.")(
        function
    )
    return click.option(
        "--from", "begin", default="earliest", show_default=True, metavar="BOUND", help="Where to begin."
    )(function)


@command.command("ls")
@_bounds
@common_options(hidden=True)
@pass_invocation
def list_types(invocation: Invocation, *, begin: str, end: str) -> int:
    """
    List every type in the topic, causes and members of groups included.

    BOUND: as for replay, such as earliest, end, an offset, a time, or a time ago (@-48h).
    """
    with invocation.wiring() as wiring:
        emit_rows(_rows(wiring, begin, end), _COLUMNS, invocation.output)
    return Exit.OK


@command.command("check")
@click.option("--fail-on-new", is_flag=True, help="Exit with 6 if a type could be listed and is not; for CI.")
@_bounds
@common_options(hidden=True)
@pass_invocation
def check(invocation: Invocation, *, fail_on_new: bool, begin: str, end: str) -> int:
    """
    List the types that are not rebuilt, and the line that would list them.

    BOUND: as for replay, such as earliest, end, an offset, a time, or a time ago (@-48h).
    """
    with invocation.wiring() as wiring:
        allowlist = wiring.allowlist()
        rows = [row for row in _rows(wiring, begin, end) if row["verdict"] != "allowed"]
        new = [row["type"] for row in rows if _is_new(allowlist, row)]
        emit_rows(rows, _COLUMNS, invocation.output)
    if new and not invocation.quiet:
        click.echo(f"to list them: {_line(new, invocation.listing)}", err=True)
    return Exit.MISMATCH if new and fail_on_new else Exit.OK


@command.command("explain")
@click.argument("types", metavar="MODULE:NAME...", nargs=-1, required=True)
@common_options(hidden=True)
@pass_invocation
def explain(invocation: Invocation, *, types: tuple[str, ...]) -> int:
    """Say what the allowlist of this configuration decides about a type, and by which rule. Reads no topic."""
    with invocation.wiring() as wiring:
        allowlist = wiring.allowlist()
        for index, name in enumerate(types):
            row = _verdict(allowlist, *_names(name))
            line = _line([name], invocation.listing) if _is_new(allowlist, {"type": name, **row}) else ""
            if invocation.output != "table":
                emit({"type": name, **row, "line": line or None})
                continue
            if index:
                click.echo()
            block([("type", _printable(name)), *row.items(), ("to list it", line)])
    return Exit.OK


def _rows(wiring: Wiring, begin: str, end: str) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    with wiring.replay() as replay:
        for replayed in replay.read(begin, end):
            for node in replayed.event.exception if replayed.event is not None else ():
                names = (node.module, node.qualname)
                if names not in found and len(found) >= _TYPES_MAX:
                    names = (_OTHERS, "")
                counted = found.setdefault(names, [0, ""])
                counted[0] += 1
                counted[1] = replayed.task_id
    allowlist = wiring.allowlist()
    longest = 2 * wiring.settings.exception_name_max + 1  # two names and a colon
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        {"type": _shown(*names, longest), "records": count, **_verdict(allowlist, *names), "task_id": task_id}
        for names, (count, task_id) in ordered
    ]


def _verdict(allowlist: ExceptionAllowlist, module: str, qualname: str) -> dict[str, str]:
    return {"verdict": str(allowlist.decide(module, qualname)), "rule": allowlist.rule(module, qualname)}


def _is_new(allowlist: ExceptionAllowlist, row: dict[str, Any]) -> bool:
    return row["verdict"] == "not_listed" and allowlist.may_be_listed(*_names(row["type"]))


def _names(name: str) -> tuple[str, str]:
    module, _, qualname = name.partition(":")
    return module, qualname


def _shown(module: str, qualname: str, longest: int) -> str:
    """Return a name as entries have it, cut to what a line can hold: it may be anything."""
    name = f"{module}:{qualname}" if qualname or module != _OTHERS else _OTHERS
    return name if len(name) <= longest else f"{name[:longest]}..."


def _line(types: Iterable[str], setting: str) -> str:
    return f"{setting} = [" + ", ".join(f'"{name}"' for name in types) + "]"


def _printable(name: str) -> str:
    from streamresults.cli.text import printable

    return printable(name)
