"""The log of a command: on stderr, as text or JSON, without the voices of the libraries underneath."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

from streamresults.cli.text import moment, printable

#: What every record of the standard library carries: anything else is a field that we gave it.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_SILENT: Final = logging.CRITICAL + 1


class TextFormat(logging.Formatter):
    """One line per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level and message."""
        line = f"{moment(record.created * 1000)} {record.levelname:<8} {printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormat(logging.Formatter):
    """One JSON object per record, with the fields that the record was given."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        line = {
            "time": moment(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start(level: str, form: str) -> None:
    """Send the log to stderr."""
    debug = level == "debug"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormat() if form == "json" else TextFormat())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else _SILENT, force=True)
    logging.getLogger("streamresults").setLevel(level.upper())
    logging.getLogger("streamresults.librdkafka").setLevel(logging.DEBUG if debug else _SILENT)
