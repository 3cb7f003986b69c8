"""
The table of docs/threat-model.md, made of the corpus.

Run it from the root of the repository after extending the corpus:

    python -m tests.hostile.page
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

from tests.hostile.building import Hostile, corpus

PAGE: Final = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN: Final = "<!-- the table: python -m tests.hostile.page -->\n"
END: Final = "<!-- end of the table -->\n"
#: What a caller gets, in words, where the class alone does not say it.
_SAID: Final = {
    "nobody's": "a dead letter of no task: its key is no task id",
    "value": "the result",
    "NoResult": "NoResult: the state is no end, or has no result",
}


def table() -> str:
    """Return the page's table: one line for each record, under its vector."""
    lines = ["| a record with | compactor | its caller gets |", "|---|---|---|"]
    for vector, records in groupby(corpus(), lambda record: record.vector):
        lines.append(f"| **{vector}** | | |")
        lines += [_line(record) for record in records]
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with its table made anew."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


def _line(record: Hostile) -> str:
    attack = record.attack.replace("|", "\\|").replace("<", "\\<").replace("__", "\\_\\_").replace("*", "\\*")
    return f"| {attack} | {record.compactor} | {_SAID.get(record.outcome, record.outcome)} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
