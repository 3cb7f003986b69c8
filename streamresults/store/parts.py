"""
Sets of parts that are complete once: what a store promises to whoever counts until all of something have come.

A part is idempotent: however often it is put, it counts once. The call that finds a set complete gets a claim on it,
and no other call gets one while that is held; nothing is put any more from then on, so that whoever takes a claim over
from a holder that died finds what the holder had found. A set is settled for good by the holder of its claim.

What parts stand for, and what is done about a set that is complete, is the caller's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(IntEnum):
    """How a set stands, as a call left it."""

    #: Parts are missing, or it was not said yet how many there are to be.
    WAITING = 0
    #: All parts have come, and the claim is this call's.
    CLAIMED = 1
    #: All parts have come, and somebody else holds the claim.
    HELD = 2
    #: It was settled.
    SETTLED = 3
    #: It was never begun, or was lost since then.
    UNKNOWN = 4


class Claim(NamedTuple):
    """Who wants to act on a set, and for how long nobody else may."""

    #: Of one attempt alone; random.
    token: str
    lease_ms: int


class Counted(NamedTuple):
    """What a call found."""

    status: Status
    #: Parts that have come.
    come: int
    #: Parts that there are to be; ``None`` while nobody has said so.
    expected: int | None
    #: Milliseconds for which somebody else holds the claim; 0 for nobody.
    held_ms: int = 0
    #: The claim was another holder's before, who may have died with half of the work done.
    taken_over: bool = False


class PartSet(NamedTuple):
    """All that there is of a set."""

    #: What it was begun with; empty where it was not.
    about: bytes
    size: int | None
    #: Members that were added later, in their order.
    added: tuple[str, ...]
    #: Parts by their names; none once it is settled.
    parts: Mapping[str, bytes]
    #: Whose claim it was last; empty for nobody's.
    token: str
    #: Milliseconds for which that is held; 0 for not any more.
    held_ms: int
    settled: bool

    @property
    def expected(self) -> int | None:
        """Parts that there are to be; ``None`` while nobody has said so."""
        return None if self.size is None else self.size + len(self.added)


class Parts(ABC):
    """
    Sets of parts. Thread-safe; a forked child must open its own.

    Every method is one atomic step, may be repeated, and may raise
    :class:`~streamresults.errors.StoreUnavailable`, within the socket timeout that the store was opened with; a write
    that raised may have happened. ``keep_ms`` is how long a set is kept from that call on, 0 for ever.
    """

    @abstractmethod
    def begin(self, set_id: str, about: bytes, size: int | None, *, keep_ms: int, anew: bool) -> bool:
        """
        Begin a set; parts that have come before count.

        Args:
            about: Whatever belongs to it.
            size: How many parts there are to be; ``None`` where :meth:`resize` will say so.
            anew: Begin again a set that was settled; it stays so otherwise.

        Returns:
            Whether an earlier set of this name had been settled.
        """

    @abstractmethod
    def resize(self, set_id: str, size: int) -> None:
        """Say how many parts there are to be; does nothing to a set that is not there, or whose size is known."""

    @abstractmethod
    def add(self, set_id: str, member: str, *, keep_ms: int) -> bool:
        """Have one more part expected, once for each member; tell whether the set is still open."""

    @abstractmethod
    def put(self, set_id: str, part: str, data: bytes, claim: Claim, *, final: bool, keep_ms: int) -> Counted:
        """
        Put a part, and take the claim if the set is complete.

        Args:
            final: Nothing replaces it; it replaces what is not final itself. Of others the first stays.
        """

    @abstractmethod
    def claim(self, set_id: str, claim: Claim) -> Counted:
        """Take the claim if the set is complete and nobody holds it."""

    @abstractmethod
    def prolong(self, set_id: str, claim: Claim) -> bool:
        """Hold a claim for longer, counted from now; tell whether it is still the caller's, also of a lost set."""

    @abstractmethod
    def settle(self, set_id: str, token: str, *, keep_ms: int) -> bool:
        """
        Settle a set whose claim is the caller's or nobody's, and drop its parts; tell whether it is settled now.

        What is kept for ``keep_ms`` is that it was settled.
        """

    @abstractmethod
    def suspect(self, set_id: str) -> str:
        """
        Tell whether parts of a set may have been lost: return which primary holds it, if that is another one than when
        it was begun; empty otherwise, where nobody knows, and for a set that was begun anew.

        A replica that was promoted is another one, and so is a server that was started again.
        """

    @abstractmethod
    def trust(self, set_id: str, primary: str) -> None:
        """Have a set suspected no more while this primary holds it: what it may have lost was put again."""

    @abstractmethod
    def read(self, set_id: str) -> PartSet | None:
        """Return what there is of a set; ``None`` for nothing."""

    @abstractmethod
    def name(self, alias: str, set_id: str, *, keep_ms: int) -> None:
        """Give a set a second name, under which :meth:`find` knows it."""

    @abstractmethod
    def find(self, alias: str) -> str | None:
        """Return the set that has a second name, ``None`` for none."""

    @abstractmethod
    def watch(self, set_id: str, delay_ms: int) -> None:
        """Have :meth:`due` give a set, in so long; says when anew of one that it would give already."""

    @abstractmethod
    def unwatch(self, set_id: str) -> None:
        """Have it not given any more."""

    @abstractmethod
    def due(self, limit: int, again_ms: int) -> list[str]:
        """
        Return sets that are to be looked at, those that have been due for longest first.

        Each is given again in ``again_ms``; where several processes ask in the same moment, it may be given to each.
        """
