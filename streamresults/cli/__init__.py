"""
The command line. Each command is a file of its own and is loaded when it is called.

So help costs no client library, and ``--version`` costs nothing at all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    stated = list(sys.argv[1:] if arguments is None else arguments)
    if stated == ["--version"]:
        from streamresults import __version__

        print(f"streamresults {__version__}")
        return 0
    from streamresults.cli.program import run

    return run(stated)
