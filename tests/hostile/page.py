"""
The tables of docs/threat-model.md, made of the corpus and of the forgeries.

Run it from the root of the repository after extending the corpus:

    python -m tests.hostile.page
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

from tests.hostile.building import Hostile, corpus
from tests.hostile.forging import forgeries

PAGE: Final = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN: Final = "<!-- the table: python -m tests.hostile.page -->\n"
END: Final = "<!-- end of the table -->\n"
FORGERIES: Final = ("<!-- the forgeries: python -m tests.hostile.page -->\n", "<!-- end of the forgeries -->\n")
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


def forged() -> str:
    """Return the table of forged records."""
    lines = ["| a record with | is refused as |", "|---|---|"]
    lines += [f"| {forgery.attack} | {forgery.why} |" for forgery in forgeries()]
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with its tables made anew."""
    return _put(_put(page, BEGIN, table(), END), FORGERIES[0], forged(), FORGERIES[1])


def _put(page: str, begin: str, made: str, end: str) -> str:
    head, _, rest = page.partition(begin)
    return head + begin + "\n" + made + "\n" + end + rest.partition(end)[2]


def _line(record: Hostile) -> str:
    attack = record.attack.replace("|", "\\|").replace("<", "\\<").replace("__", "\\_\\_").replace("*", "\\*")
    return f"| {attack} | {record.compactor} | {_SAID.get(record.outcome, record.outcome)} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
