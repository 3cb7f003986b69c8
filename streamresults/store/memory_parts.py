"""Sets of parts in memory: the same steps as ``parts.lua``, as Python."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from streamresults.store.parts import Claim, Counted, Parts, PartSet, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Set:
    """What one set holds."""

    def __init__(self) -> None:
        self.about: bytes | None = None
        self.size: int | None = None
        self.added: Final[dict[str, None]] = {}
        #: Whether each is final, and its bytes.
        self.parts: Final[dict[str, tuple[bool, bytes]]] = {}
        self.token = ""
        self.until_ms = 0
        self.taken_over = False
        self.settled = False
        #: Which primary it was begun on; ``None`` for not begun, empty for anew.
        self.born: str | None = None
        #: ``None``: for ever.
        self.kept_until_ms: int | None = None

    @property
    def expected(self) -> int | None:
        return None if self.size is None else self.size + len(self.added)

    @property
    def closed(self) -> bool:
        """Whether nothing may come any more: whoever takes a claim over must find what its holder has found."""
        expected = self.expected
        return self.settled or (bool(self.token) and expected is not None and len(self.parts) >= expected)


class MemoryParts(Parts):
    """
    Sets of parts in memory.

    Args:
        now_ms: Returns milliseconds since 1970.
        check: Raises what a store that is away raises.
    """

    def __init__(self, now_ms: Callable[[], int], check: Callable[[], None]) -> None:
        self._now_ms: Final = now_ms
        self._check: Final = check
        self._lock: Final = Lock()
        self._failovers = 0
        self._sets: Final[dict[str, _Set]] = {}
        self._aliases: Final[dict[str, tuple[str, int | None]]] = {}
        #: When each is due.
        self._watched: Final[dict[str, int]] = {}

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self._lock:
            self._sets.clear()
            self._aliases.clear()
            self._watched.clear()

    def begin(self, set_id: str, about: bytes, size: int | None, *, keep_ms: int, anew: bool) -> bool:
        """Begin a set; see :meth:`Parts.begin`."""
        self._check()
        with self._lock:
            one = self._one(set_id)
            settled = one.settled
            if settled and not anew:
                return True
            if settled:
                one = self._sets[set_id] = _Set()
            one.about = about
            if one.born is None:
                one.born = "" if settled else self._primary()
            one.size = one.size if size is None else size
            self._keep(one, keep_ms)
            return settled

    def resize(self, set_id: str, size: int) -> None:
        """Say how many parts there are to be; see :meth:`Parts.resize`."""
        self._check()
        with self._lock:
            one = self._live(set_id)
            if one is not None and one.about is not None and one.size is None:
                one.size = size

    def add(self, set_id: str, member: str, *, keep_ms: int) -> bool:
        """Have one more part expected; see :meth:`Parts.add`."""
        self._check()
        with self._lock:
            one = self._one(set_id)
            if one.closed:
                return False
            one.added.setdefault(member)
            self._keep(one, keep_ms)
            return True

    def put(self, set_id: str, part: str, data: bytes, claim: Claim, *, final: bool, keep_ms: int) -> Counted:
        """Put a part; see :meth:`Parts.put`."""
        self._check()
        with self._lock:
            one = self._one(set_id)
            if not one.closed:
                there = one.parts.get(part)
                if there is None or (final and not there[0]):
                    one.parts[part] = (final, data)
                self._keep(one, keep_ms)
            return self._claimed(one, claim)

    def claim(self, set_id: str, claim: Claim) -> Counted:
        """Take the claim of a complete set; see :meth:`Parts.claim`."""
        self._check()
        with self._lock:
            return self._claimed(self._live(set_id) or _Set(), claim)

    def _claimed(self, one: _Set, claim: Claim) -> Counted:
        come, expected, now = len(one.parts), one.expected, self._now_ms()
        if one.settled:
            return Counted(Status.SETTLED, come, expected)
        if expected is None and one.about is None:
            return Counted(Status.UNKNOWN, come, None)
        if expected is None or come < expected:
            return Counted(Status.WAITING, come, expected)
        before = one.token
        if before not in ("", claim.token) and one.until_ms > now:
            return Counted(Status.HELD, come, expected, one.until_ms - now)
        one.taken_over = one.taken_over or before not in ("", claim.token)
        one.token, one.until_ms = claim.token, now + claim.lease_ms
        return Counted(Status.CLAIMED, come, expected, taken_over=one.taken_over)

    def prolong(self, set_id: str, claim: Claim) -> bool:
        """Hold a claim for longer; see :meth:`Parts.prolong`."""
        self._check()
        with self._lock:
            one = self._one(set_id)
            if one.settled or one.token not in ("", claim.token):
                return False
            now = self._now_ms()
            one.token, one.until_ms = claim.token, now + claim.lease_ms
            if one.kept_until_ms is not None or one.about is None:
                one.kept_until_ms = max(one.kept_until_ms or 0, now + 2 * claim.lease_ms)
            return True

    def settle(self, set_id: str, token: str, *, keep_ms: int) -> bool:
        """Settle a set; see :meth:`Parts.settle`."""
        self._check()
        with self._lock:
            one = self._one(set_id)
            if one.settled:
                return True
            if one.token not in ("", token):
                return False
            one = self._sets[set_id] = _Set()
            one.settled = True
            self._keep(one, keep_ms)
            return True

    def suspect(self, set_id: str) -> str:
        """Tell which primary may have lost parts of a set; see :meth:`Parts.suspect`."""
        self._check()
        with self._lock:
            one = self._live(set_id)
            return self._primary() if one is not None and one.born and one.born != self._primary() else ""

    def trust(self, set_id: str, primary: str) -> None:
        """Have a set suspected no more; see :meth:`Parts.trust`."""
        self._check()
        with self._lock:
            one = self._live(set_id)
            if one is not None and one.born:
                one.born = primary

    def _primary(self) -> str:
        return str(self._failovers + 1)

    def fail_over(self, set_id: str, lost: Sequence[str]) -> None:
        """Lose parts that no replica had, as a failover does."""
        with self._lock:
            self._failovers += 1
            for part in lost:
                del self._sets[set_id].parts[part]

    def read(self, set_id: str) -> PartSet | None:
        """Return what there is of a set; see :meth:`Parts.read`."""
        self._check()
        with self._lock:
            one = self._live(set_id)
            if one is None:
                return None
            return PartSet(
                about=one.about or b"",
                size=one.size,
                added=tuple(one.added),
                parts={name: data for name, (_, data) in one.parts.items()},
                token=one.token,
                held_ms=max(0, one.until_ms - self._now_ms()),
                settled=one.settled,
            )

    def name(self, alias: str, set_id: str, *, keep_ms: int) -> None:
        """Give a set a second name; see :meth:`Parts.name`."""
        self._check()
        with self._lock:
            self._aliases[alias] = (set_id, self._now_ms() + keep_ms if keep_ms else None)

    def find(self, alias: str) -> str | None:
        """Return the set that has a second name; see :meth:`Parts.find`."""
        self._check()
        with self._lock:
            set_id, until_ms = self._aliases.get(alias, (None, None))
            return None if until_ms is not None and until_ms <= self._now_ms() else set_id

    def watch(self, set_id: str, delay_ms: int) -> None:
        """Have a set be due in so long; see :meth:`Parts.watch`."""
        self._check()
        with self._lock:
            self._watched[set_id] = self._now_ms() + delay_ms

    def unwatch(self, set_id: str) -> None:
        """Have it not be due any more; see :meth:`Parts.unwatch`."""
        self._check()
        with self._lock:
            self._watched.pop(set_id, None)

    def due(self, limit: int, again_ms: int) -> list[str]:
        """Return sets that are due; see :meth:`Parts.due`."""
        self._check()
        now = self._now_ms()
        with self._lock:
            found = sorted((at, set_id) for set_id, at in self._watched.items() if at <= now)[:limit]
            self._watched.update({set_id: now + again_ms for _, set_id in found})
        return [set_id for _, set_id in found]

    def _live(self, set_id: str) -> _Set | None:
        one = self._sets.get(set_id)
        if one is not None and one.kept_until_ms is not None and one.kept_until_ms <= self._now_ms():
            del self._sets[set_id]
            return None
        return one

    def _one(self, set_id: str) -> _Set:
        return self._live(set_id) or self._sets.setdefault(set_id, _Set())

    def _keep(self, one: _Set, keep_ms: int) -> None:
        one.kept_until_ms = self._now_ms() + keep_ms if keep_ms else None
