"""Exceptions and records of them, that tests of both directions use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from streamresults.events.allowlist import ExceptionAllowlist
from streamresults.events.event import NamedValue
from streamresults.events.exceptions import capture
from streamresults.events.payloads import default_registry
from streamresults.events.revive import revive

if TYPE_CHECKING:
    from collections.abc import Sequence


REGISTRY = default_registry()


JSON = REGISTRY.by_name("json")


class Shy(Exception):
    """An exception that records every run of its own code, and cannot be built from its args."""

    ran: list[str] = []  # noqa: RUF012 - shared on purpose

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Shy:  # noqa: PYI034
        """Record."""
        cls.ran.append("__new__")
        return super().__new__(cls)

    def __init__(self, *, code: int, reason: str) -> None:
        """Record."""
        self.ran.append("__init__")
        super().__init__(f"{reason} ({code})")
        self.code = code

    def __setattr__(self, name: str, value: Any) -> None:
        """Record."""
        self.ran.append("__setattr__")
        super().__setattr__(name, value)

    def __setstate__(self, state: Any) -> None:
        """Record."""
        self.ran.append("__setstate__")

    def __reduce__(self) -> Any:
        """Record."""
        self.ran.append("__reduce__")
        return os.getpid, ()

    @property
    def trap(self) -> str:
        """Record."""
        self.ran.append("get")
        return ""

    @trap.setter
    def trap(self, _value: str) -> None:
        self.ran.append("set")

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        """Record."""
        self.ran.append("__dict__")
        return {}


class Both(ValueError, OSError):
    """Its layout is OSError's, although ValueError comes first."""


class Several(ExceptionGroup[Exception]):
    """A group with code of its own."""

    ran: list[str] = []  # noqa: RUF012 - shared on purpose

    def __new__(cls, message: str, members: Sequence[Exception]) -> Several:  # noqa: PYI034
        """Record."""
        cls.ran.append("__new__")
        return super().__new__(cls, message, members)


class Nasty(Exception):
    """Every way to be looked at fails, and not with an Exception."""

    def __str__(self) -> str:
        """Fail."""
        raise SystemExit

    def __repr__(self) -> str:
        """Fail."""
        raise KeyboardInterrupt

    def __reduce__(self) -> Any:
        """Fail."""
        raise SystemExit

    def __getattribute__(self, name: str) -> Any:
        """Fail."""
        raise SystemExit

    def __hash__(self) -> int:
        """Fail."""
        raise SystemExit

    def __eq__(self, other: object) -> bool:
        """Fail."""
        raise SystemExit


ALLOWLIST = ExceptionAllowlist([Shy, Both, Several])


def there_and_back(exc: BaseException, serializer: str = "json") -> Any:
    """Capture and revive."""
    nodes, text = capture(exc, REGISTRY.by_name(serializer))
    return revive(nodes, text, ALLOWLIST, REGISTRY)


def named(name: str, value: Any) -> NamedValue:
    """Write a value by hand."""
    return NamedValue(name=name, content_type="application/json", data=JSON.encode(value))


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    """Raise and catch, so that there is a traceback."""
    try:
        raise exc from cause  # noqa: TRY301 - the point
    except BaseException as caught:  # noqa: BLE001 - whatever was raised
        return caught


VALUES = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
