"""
Judges what clients were told by the log alone, read with a plain consumer; knows no code that folds.

An answer on a full basis is what stood for the task at some end of the log, not before the one that was asked for. Any
other answer is a record of that task which nobody had forgotten by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.client.provenance import Basis
from streamresults.deadline import Deadline
from streamresults.errors import NotYetCovered, ServiceUnavailable, WaitTimeout
from streamresults.events.codec import Codec
from tests.faults.load import EXPIRES, expires, is_large
from tests.faults.world import RANKS, SOON, World
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streamresults.client.result import Result
    from tests.faults.load import Acknowledged

_READY = 3
#: Milliseconds by which clocks of one machine, read in two ways, may differ.
_CLOCKS_MS = 50


class Told(NamedTuple):
    """What a client was told of one task."""

    how: str
    task: str
    #: The answer must know everything below this offset of the task's partition.
    since: int
    #: When it was asked, in milliseconds since 1970.
    asked_ms: float
    answer: Result | Exception


class Record(NamedTuple):
    """One event of a task; a state of '' is a tombstone."""

    offset: int
    state: str


def standing(records: Iterable[Record]) -> int | None:
    """Return the offset of the record that stands: the first SUCCESS, else the last of the highest rank."""
    best: tuple[int, int] | None = None
    for offset, state in records:
        rank = RANKS.get(state, 0)
        if not state:
            best = None
        elif best is None or rank > best[0] or (rank == best[0] and state != "SUCCESS"):
            best = rank, offset
    return None if best is None else best[1]


class Judge:
    """Knows all that the log of a world has ever held."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._codec = Codec()
        self._known: set[tuple[int, int]] = set()
        #: The records of each task in their order, by partition and task.
        self.tasks: dict[tuple[int, str], list[Record]] = {}
        self._partition: dict[str, int] = {}
        #: What retention has taken is below these offsets.
        self.low: dict[int, int] = {}
        #: Where the log ended when it was read.
        self.ends: dict[int, int] = {}

    @property
    def events(self) -> int:
        """How many records there have been."""
        return len(self._known)

    def read(self) -> None:
        """Read the log again, and keep what retention has taken since the last time."""
        low: dict[int, int] = {}
        for raw in self._world.raw():
            low.setdefault(raw.partition, raw.offset)
            self.ends[raw.partition] = raw.offset + 1
            if (raw.partition, raw.offset) in self._known:
                continue
            self._known.add((raw.partition, raw.offset))
            assert raw.key is not None
            task = raw.key.decode()
            state = "" if raw.value is None else self._codec.decode_prefix(raw.value).state
            self.tasks.setdefault((raw.partition, task), []).append(Record(raw.offset, state))
            self._partition[task] = raw.partition
        self.low = low

    def check(self, acknowledged: Sequence[Acknowledged], told: Sequence[Told], seed: str) -> None:
        """Fail unless nothing is lost, the view is the log's fold, and nobody was told what is not so."""
        eventually(self._is_whole, SOON, f"the view is whole again (seed {seed})")
        self.read()
        lost = [one for one in acknowledged if self._is_lost(one)]
        wrong = [found for one in told for found in self._wrong(one)]
        found = {"lost": lost[:5], "wrong": wrong[:5], "differing": self._differences()[:5]}
        assert not any(found.values()), f"seed {seed}: {found}"  # in full: nothing rewrites the assertions of a helper

        # Clean it is at any moment; complete only until a replica that is behind takes over once more.
        eventually(self._verifies, SOON, f"a verification is complete (seed {seed})")
        self._check_hidden(seed)

    def _verifies(self) -> bool:
        with self._world.wiring.replay() as replay:
            verified = replay.verify()
        verified.raise_if_unclean()
        return verified.complete

    def _is_whole(self) -> bool:
        coverages = [looked.coverage for looked in self._world.look(dict.fromkeys(self._partitions(), ())).values()]
        return all(one is not None and one.complete for one in coverages) and self._world.caught_up()

    def _partitions(self) -> range:
        return range(self._world.partitions)

    def _is_lost(self, one: Acknowledged) -> bool:
        return Record(one.offset, one.state) not in self.tasks.get((one.partition, one.task), ())

    # -- the view ---------------------------------------------------------------------------------------------------

    def _differences(self) -> list[str]:
        wanted: dict[int, list[str]] = {p: [] for p in self._partitions()}
        for partition, task in self.tasks:
            if not expires(task):
                wanted[partition].append(task)
        view = self._world.view(wanted)
        return [
            f"{task} in partition {p} ({self.tasks[p, task]}): the view holds {view[p].get(task)}"
            for p, tasks in wanted.items()
            for task in tasks
            if view[p].get(task) not in self._standings(p, task, last_only=True)
        ]

    def _check_hidden(self, seed: str) -> None:
        """Fail if anything forgotten or expired is shown."""
        gone = [task for (p, task) in self.tasks if expires(task) or self._standings(p, task, last_only=True) == {None}]
        client = self._world.client

        def shown() -> list[str]:
            return [found.task_id for found in client.lookup_many(gone) if found.found or found.basis is not Basis.FULL]

        eventually(lambda: not shown(), SOON, f"what was forgotten, or has expired, is hidden (seed {seed})")

    # -- answers ----------------------------------------------------------------------------------------------------

    def _standings(self, partition: int, task: str, since: int = 0, *, last_only: bool = False) -> set[int | None]:
        """Return what stands at each end of the log from ``since`` on, wherever retention has cut its beginning."""
        records = self.tasks[partition, task]
        taken = sum(offset < self.low.get(partition, 0) for offset, _ in records)
        first = len(records) if last_only else sum(offset < since for offset, _ in records)
        return {standing(records[begin:end]) for end in range(first, len(records) + 1) for begin in range(taken + 1)}

    def _wrong(self, told: Told) -> Iterator[str]:
        """Yield why an answer is wrong."""
        answer = told.answer
        if isinstance(answer, Exception):
            if not _may_be_told(told, answer):
                yield f"{told.how} of {told.task}: {answer!r}"
            return
        partition = self._partition[told.task]
        records = self.tasks[partition, told.task]
        place = answer.position.offset if answer.position is not None else None
        text = f"{told.how} of {told.task} (since {told.since}, {records}): {answer!r} at {place}"
        state = next((state for offset, state in records if offset == place), "UNKNOWN" if place is None else "")
        if (answer.event.state if answer.found else answer.state) != state:  # as its record says it
            yield f"{text}: no such record"
        elif told.how == "wait" and RANKS.get(state, 0) < _READY:
            yield f"{text}: it had not ended"
        elif expires(told.task):
            if place is not None and answer.appended_ms + EXPIRES * 1000 < told.asked_ms - _CLOCKS_MS:
                yield f"{text}: it had expired"
        elif answer.basis is Basis.FULL and (told.how, state) != ("wait", "SUCCESS"):  # that is right as a state
            if place not in self._standings(partition, told.task, told.since):
                yield f"{text}: it never stood"
        elif place is not None and any(place < offset < told.since and not s for offset, s in records):
            yield f"{text}: it was forgotten"


def _may_be_told(told: Told, error: Exception) -> bool:
    """Tell whether an error is true: a lookup need not know, a wait must go on until it knows."""
    if told.how != "wait":
        return isinstance(error, NotYetCovered | ServiceUnavailable)
    return is_large(told.task) and isinstance(error, WaitTimeout)  # it has ended, and the log could not be read


def backfilling(world: World) -> bool:
    """Tell whether some of the view is missing still."""
    place = world.client._whereabouts.find(Deadline(SOON))
    assert place.view is not None
    looked = place.view.look(dict.fromkeys(range(world.partitions), ()))
    return any(one.coverage is not None and not one.coverage.complete for one in looked.values())
