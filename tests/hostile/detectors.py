"""Notices what a record must never bring about: imports, files, sockets, processes, and the code of the traps."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.hostile.traps import SPRUNG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Audit events (PEP 578) that a record must not cause, by their beginning.
_FORBIDDEN: Final = (
    "open",
    "os.",
    "shutil.",
    "socket.",
    "subprocess.",
    "pty.",
    "pickle.find_class",
    "ctypes.",
    "code.__new__",
    "urllib.",
    "ftplib.",
    "smtplib.",
    "webbrowser.",
    "tempfile.",
    "marshal.",
    "mmap.",
    "signal.",
)
#: What Python itself asks for while it prints, sleeps or starts threads.
_HARMLESS: Final = frozenset({"os.putenv", "os.unsetenv", "os.getenv"})

_seen: Final[list[str]] = []
_watching: Final[list[bool]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or not event.startswith(_FORBIDDEN) or event in _HARMLESS:
        return
    if event == "open" and _is_own_source(arguments[0]):
        return  # the lines of local frames, when a traceback is printed
    if event == "code.__new__" and _is_remote(arguments):
        return  # the frames of a traceback are made of code objects that do nothing but raise
    _seen.append(f"{event}{arguments!r:.200}")


def _is_own_source(path: object) -> bool:
    loaded = list(sys.modules.values())
    return isinstance(path, str) and path in {getattr(module, "__file__", None) for module in loaded}


def _is_remote(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) > 1 and isinstance(arguments[1], str) and arguments[1].startswith("<remote ")


class _Finder:
    """Stands first among the importers: whatever is not loaded yet comes by."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:  # noqa: ARG002
        if _watching:
            _seen.append(f"import {name}")


_FINDER: Final = _Finder()
sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Watch this process; what was noticed is in the list when the block ends."""
    found: list[str] = []
    before = set(sys.modules)
    sys.meta_path.insert(0, _FINDER)
    SPRUNG.clear()
    _seen.clear()
    _watching.append(True)
    try:
        yield found
    finally:
        _watching.clear()
        sys.meta_path.remove(_FINDER)
        found += [*_seen, *SPRUNG, *(f"loaded {name}" for name in sorted(set(sys.modules) - before))]
        _seen.clear()
        SPRUNG.clear()
