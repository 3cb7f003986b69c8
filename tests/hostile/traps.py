"""Classes that note every run of their own code. All of them may be rebuilt: it is the rebuilding that is watched."""

from __future__ import annotations

from typing import Any, Final

#: What has run, by name; empty while nothing has.
SPRUNG: Final[list[str]] = []


class Meta(type):
    """A metaclass whose call is code."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        SPRUNG.append(f"{cls.__name__}: metaclass __call__")
        return super().__call__(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        SPRUNG.append(f"{cls.__name__}: __instancecheck__")
        return super().__instancecheck__(instance)


class Trap(Exception, metaclass=Meta):
    """Every method that Python might call by itself, a property and a descriptor."""

    def __new__(cls, *args: Any, **_: Any) -> Trap:  # noqa: PYI034 -- a subclass is not made here
        SPRUNG.append("Trap: __new__")
        return super().__new__(cls, *args)

    def __init__(self, *, code: int) -> None:
        SPRUNG.append("Trap: __init__")
        super().__init__(code)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        SPRUNG.append("Trap: __init_subclass__")
        super().__init_subclass__(**kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        SPRUNG.append("Trap: __setattr__")
        super().__setattr__(name, value)

    def __setstate__(self, state: Any) -> None:
        SPRUNG.append("Trap: __setstate__")

    def __reduce__(self) -> Any:
        SPRUNG.append("Trap: __reduce__")
        return Trap, ()

    def __del__(self) -> None:
        SPRUNG.append("Trap: __del__") if getattr(self, "armed", False) is True else None

    @property
    def trap(self) -> str:
        SPRUNG.append("Trap: property")
        return ""

    @trap.setter
    def trap(self, _value: str) -> None:
        SPRUNG.append("Trap: property set")


class TrapError(Trap, OSError):
    """The same with the layout of OSError."""


class TrapGroup(ExceptionGroup[Exception]):
    """A group with code of its own."""

    def __new__(cls, message: str, members: Any) -> TrapGroup:  # noqa: PYI034 -- the same
        SPRUNG.append("TrapGroup: __new__")
        return super().__new__(cls, message, members)

    def derive(self, members: Any) -> TrapGroup:  # type: ignore[override]  # one way is enough
        SPRUNG.append("TrapGroup: derive")
        return TrapGroup(self.message, members)


class Plain(Exception):
    """Listed, and ordinary."""

    class Inner(Exception):
        """A dotted name."""


class Unlisted(Exception):
    """Importable, and nobody lists it."""


class Posing:
    """No exception class, though it says so where it is asked politely."""

    @property  # type: ignore[misc]  # it poses
    def __class__(self) -> Any:
        SPRUNG.append("Posing: __class__")
        return type


posing: Final = Posing()


def __getattr__(name: str) -> object:
    SPRUNG.append(f"module __getattr__({name})")
    raise AttributeError(name)


LISTED: Final[tuple[type[Exception], ...]] = (Trap, TrapError, TrapGroup, Plain, Plain.Inner)
SPRUNG.clear()
