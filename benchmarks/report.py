"""The table for people, and ``results/latest.json`` for programs."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka
import msgspec

from benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.measure import Row

LATEST: Final = Path(__file__).with_name("results") / "latest.json"
_LIBRARIES: Final = ("streamresults", "confluent-kafka", "fastavro", "redis", "hiredis", "msgspec", "celery")
_HEAD: Final = ("row", "value", "unit", "reference", "ratio", "spread", "target", "", "note")
_SMALL: Final = 100


def table(rows: Sequence[Row]) -> str:
    """Return the rows in columns."""
    lines = [_HEAD, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _line(row: Row) -> tuple[str, ...]:
    target = TARGETS.get(row.name)
    spread = "" if row.spread is None else f"{_shown(row.spread[0])}..{_shown(row.spread[1])}"
    aim = ("", "") if target is None else (str(target), target.verdict(row))
    return (row.name, _shown(row.value), row.unit, _shown(row.reference), _shown(row.ratio), spread, *aim, row.note)


def _shown(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if abs(figure) >= _SMALL else f"{figure:.2f}"


def machine(services: Mapping[str, str]) -> dict[str, Any]:
    """Return what the figures were taken on and with, without names of hosts or folders."""
    found = {name: _version(name) for name in _LIBRARIES}
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version for name, version in found.items() if version}
        | {"librdkafka": confluent_kafka.libversion()[0]},
        "services": dict(services),
    }


def write(rows: Sequence[Row], services: Mapping[str, str]) -> None:
    """Replace the last results; rows that were not measured this time stay as they were."""
    LATEST.parent.mkdir(exist_ok=True)
    fresh = {row.name: _entry(row) for row in rows}
    kept = {entry["name"]: entry for entry in _former()} if LATEST.exists() else {}
    everything = {"machine": machine(services), "rows": list((kept | fresh).values())}
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=2) + b"\n")


def _former() -> list[dict[str, Any]]:
    return list(msgspec.json.decode(LATEST.read_bytes())["rows"])


def _entry(row: Row) -> dict[str, Any]:
    entry = row._asdict()
    del entry["note"]
    return entry


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
