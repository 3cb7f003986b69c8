"""The process that measures where the oldest Celery is installed; it answers with a version and a row, as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import sys

from benchmarks.celery_rows import Side, finished


def main(ours_url: str, theirs_url: str) -> None:
    """Answer until standard input ends."""
    from streamresults.celery.process import close_all  # noqa: PLC0415 -- only where Celery is there

    pair = Side(ours_url), Side(theirs_url)
    for line in sys.stdin:
        row = finished(*pair)
        print(line.strip(), json.dumps([importlib.metadata.version("celery"), row]), flush=True)
    close_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
