"""A list of exceptions in a TOML file of its own, that many services share and that CI checks."""

from __future__ import annotations

import tomllib
from pathlib import Path

from streamresults.errors import ConfigurationError


def entries_of(path: str) -> list[str]:
    """
    Return the entries of a file: ``allow = ["shop.errors:CardDeclined", "shop.stock:*"]``; none of an empty path.

    Raises:
        ConfigurationError: The file cannot be read, or holds something else; the message names it.
    """
    if not path:
        return []
    try:
        found = tomllib.loads(Path(path).read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        msg = f"exception allowlist: the file {path} cannot be read: {exc}"
        raise ConfigurationError(msg) from exc
    entries = found.pop("allow", None)
    if found or not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        msg = f'exception allowlist: the file {path} has to hold allow = ["module:QualifiedName", ...] and nothing else'
        raise ConfigurationError(msg)
    return entries
