"""
Waiting through the topic: the reader, its resets, and waiters who look at a view that moves as it likes.

What a waiter does is decided by ``after_look`` and ``after_record`` alone; here stands only when the engine asks them,
and with what. The view shows exactly what its coverage says (the model of the view says why), and coverage moves in
more ways than it can: after a flush it begins anywhere, after a failover it is any stretch of any generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.client.decisions import AfterLook, AfterRecord, Seen, after_look, after_record
from streamresults.events.fold import NEVER
from streamresults.events.states import RANK_READY
from tests.model.explore import Step
from tests.model.moving import Cover, described, judge, moves
from tests.model.records import NOTHING, UNREADABLE, folded, rank_of, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT: Final = "absent"
#: A look is wanted.
LOOKING: Final = "looking"
#: Two looks instead of one: the value was read, the coverage was not. No phase of the real engine.
HALF: Final = "half a look"
#: A look is under way: it was read, and nothing was decided.
READ: Final = "read"
#: It was decided, and nothing came of it yet. No phase of the real engine, which decides and acts under one lock.
DECIDED: Final = "decided"
UNPROVEN: Final = "unproven"
ASLEEP: Final = "asleep"
OVER: Final = "over"


class JoinRules(NamedTuple):
    """Every clause of the protocol that a planted fault takes away."""

    #: The proof is made against R, the next offset to be matched; else against S, the reader's first one.
    proof_against_next: bool = True
    #: Value and coverage are read in one step.
    one_look: bool = True
    #: The decision and its effect are one step to the reader.
    under_the_lock: bool = True
    #: A reset sends everybody back to step 1; else only those who sleep.
    reset_tells_all: bool = True
    #: A miss is believed only where coverage is complete.
    miss_needs_complete: bool = True
    #: Nothing is answered from below the highest watermark seen.
    never_backwards: bool = True
    #: A record delivered to somebody awake moves R behind it.
    looks_beyond: bool = True
    after_record: Callable[..., AfterRecord] = after_record


class JoinBounds(NamedTuple):
    """How much is explored."""

    records: int
    waiters: int
    resets: int
    #: Flushes and failovers.
    faults: int
    letters: str = "SFXT"


class Waiter(NamedTuple):
    """One wait for the one task."""

    phase: str = ABSENT
    #: R; -1 while the partition is not read.
    next_offset: int = -1
    #: The stretch whose value was read, and the coverage that was read with it.
    value: Cover | None = None
    looked: Cover | None = None
    #: The coverage of the last look that could be used; the next look takes its place.
    seen: Cover | None = None
    folded_to: int = -1
    verdict: str = ""
    #: Offset of what ended the wait.
    answer: int = -1


class State(NamedTuple):
    """Everything at one moment."""

    log: str
    view: Cover | None
    #: The next offset that the reader matches, and its first one; -1: the partition is not read.
    position: int
    first: int
    #: The end that was asked for, before the reader is told; -1: nothing was asked.
    resolved: int
    waiters: tuple[Waiter, ...]
    resets: int
    faults: int
    #: The highest watermark that this process has seen.
    highest: int
    wrong: str = ""


class JoinModel:
    """Explores :class:`State`; see :class:`tests.model.explore.Model`."""

    def __init__(self, bounds: JoinBounds, rules: JoinRules) -> None:
        self._bounds: Final = bounds
        self._rules: Final = rules

    def initial(self) -> Iterator[State]:
        """Begin with nothing, or with a reader that somebody has left behind: it reads on for a minute."""
        waiters = (Waiter(),) * self._bounds.waiters
        for position in (-1, 0):
            yield State("", None, position, position, -1, waiters, self._bounds.resets, self._bounds.faults, -1)

    def steps(self, state: State) -> Iterator[Step[State]]:
        """Return what publishers, the view, the reader and the waiters may do next, until all waits are over."""
        if all(waiter.phase == OVER for waiter in state.waiters):
            return
        if len(state.log) < self._bounds.records:
            for letter in self._bounds.letters:
                yield Step(f"{letter} is published at {len(state.log)}", state._replace(log=state.log + letter))
        for label, view, fault in moves(state.view, len(state.log), faults=state.faults, others=_generations(state)):
            yield Step(label, state._replace(view=view, faults=state.faults - fault), fault)
        yield from self._reader_steps(state)
        for number, waiter in enumerate(state.waiters):
            if waiter not in state.waiters[:number]:
                for label, reached, after in self._waiter_steps(state, waiter):
                    others = (*state.waiters[:number], after, *state.waiters[number + 1 :])
                    yield Step(f"the waiter {label}", _normalised(reached._replace(waiters=_sorted(others))))

    def wrong(self, state: State) -> str:
        """Report what an answer must never be; it was judged when it was given."""
        return state.wrong

    def good(self, state: State) -> bool:
        """Ask for a view that shows all, and waiters who have their answer, or sleep because there is none."""
        end = len(state.log)
        if all(waiter.phase == OVER for waiter in state.waiters):
            return True
        if end < self._bounds.records or state.view is None or state.view[1:] != (0, end):
            return False
        ends = rank_of(folded(state.log, 0, end)) >= RANK_READY or UNREADABLE in state.log
        caught_up = state.position in {-1, end}
        return caught_up and all(w.phase == OVER or (w.phase == ASLEEP and not ends) for w in state.waiters)

    # -- the reader -------------------------------------------------------------------------------------------------

    def _reader_steps(self, state: State) -> Iterator[Step[State]]:
        end, waiters = len(state.log), [w for w in state.waiters if w.phase not in {ABSENT, OVER}]
        if state.position < 0:
            if state.resolved >= 0:
                label = f"the reader is assigned at {state.resolved}"
                yield Step(label, self._send_to_step_1(state))
            elif waiters:
                # A leader that was elected just now may name an end that lies a little lower.
                for found in {end, max(end - 1, 0)}:
                    yield Step(f"the end {found} is resolved", state._replace(resolved=found))
            return
        if state.position < end:
            yield Step(f"the reader delivers {state.log[state.position]} at {state.position}", self._deliver(state))
        lost = state._replace(position=-1, first=-1)
        if not waiters:
            yield Step("the reader is released", lost)
        if state.resets:
            yield Step("the reader loses its place", lost._replace(resets=state.resets - 1), fault=True)

    def _send_to_step_1(self, state: State) -> State:
        """Do what ``Engine._send_to_step_1`` does: the new offset first, then everybody, in one step."""
        to = state.resolved
        waiters = []
        for waiter in state.waiters:
            told = self._rules.reset_tells_all or waiter.phase == ASLEEP or waiter.next_offset < 0
            if waiter.phase not in {ABSENT, OVER} and told:
                waiters.append(Waiter(LOOKING, to))
            else:
                waiters.append(waiter)
        first = to if not self._rules.proof_against_next else 0
        return state._replace(position=to, first=first, resolved=-1, waiters=_sorted(waiters))

    def _deliver(self, state: State) -> State:
        """Do what ``Engine._match`` and ``Engine._deliver`` do with the next record."""
        offset = state.position
        reached = state._replace(position=offset + 1)
        letter = state.log[offset]
        if letter == NOTHING:
            return reached
        waiters = []
        for waiter in state.waiters:
            after = waiter
            if waiter.phase not in {ABSENT, OVER}:
                asleep, rank = waiter.phase == ASLEEP, rank_of(summary_of(letter, offset))
                verdict = self._rules.after_record(asleep=asleep, folded_to=waiter.folded_to, offset=offset, rank=rank)
                if verdict is AfterRecord.DONE:
                    after = Waiter(OVER, verdict="topic", answer=offset)
                    wrong = judge(state.log, after.verdict, offset, waiter.folded_to if asleep else 0)
                    reached = reached._replace(wrong=reached.wrong or wrong)
                elif verdict is AfterRecord.LOOK_BEYOND or (letter == UNREADABLE and asleep):
                    beyond = offset + 1 if self._rules.looks_beyond or asleep else waiter.next_offset
                    after = waiter._replace(next_offset=beyond)
                    if asleep:
                        after = Waiter(UNPROVEN, beyond)
            waiters.append(after)
        return reached._replace(waiters=_sorted(waiters))

    # -- waiters ----------------------------------------------------------------------------------------------------

    def _waiter_steps(self, state: State, waiter: Waiter) -> Iterator[tuple[str, State, Waiter]]:
        view = state.view
        if waiter.phase == ABSENT:
            yield f"registers with R={state.position}", state, Waiter(LOOKING, state.position)
        elif waiter.phase == LOOKING:
            if self._rules.one_look:
                yield f"reads {described(view)}", state, waiter._replace(phase=READ, value=view, looked=view)
            else:
                yield f"reads the value in {described(view)}", state, waiter._replace(phase=HALF, value=view)
        elif waiter.phase == HALF:
            yield f"reads the coverage {described(view)}", state, waiter._replace(phase=READ, looked=view)
        elif waiter.phase == READ:
            yield self._decide(state, waiter)
        elif waiter.phase == DECIDED:
            yield f"goes on: {waiter.verdict}", state, waiter._replace(phase=waiter.verdict, verdict="")
        elif waiter.phase == UNPROVEN:
            label, reached = f"reads the coverage {described(view)}", _heard(state, view)
            wants = view is not None and view.watermark >= reached.highest and _reconsider(waiter, view)
            yield label, reached, Waiter(LOOKING, waiter.next_offset) if wants else waiter

    def _decide(self, state: State, waiter: Waiter) -> tuple[str, State, Waiter]:
        """Do what ``Engine._decide`` does: step 3."""
        rules, looked = self._rules, waiter.looked
        state = _heard(state, looked)
        seen = None
        if looked is not None:
            value = folded(state.log, waiter.value.start, waiter.value.watermark) if waiter.value is not None else None
            complete = looked.start == 0 or not rules.miss_needs_complete
            marked = UNREADABLE in state.log[looked.start : looked.watermark]
            seen = Seen(looked.watermark, complete, rank_of(value), marked)
        next_offset = NEVER
        if state.position >= 0:
            next_offset = waiter.next_offset if rules.proof_against_next else state.first
        highest = state.highest if rules.never_backwards else -1
        verdict = after_look(seen, next_offset, highest)
        usable = looked if looked is not None and looked.watermark >= highest else None
        after = Waiter(UNPROVEN, waiter.next_offset, seen=usable)
        if verdict is AfterLook.SLEEP:
            assert looked is not None
            after = Waiter(ASLEEP, folded_to=looked.watermark)
        elif verdict is not AfterLook.AGAIN:
            after = Waiter(OVER, verdict=verdict.value, answer=_best(state.log, waiter.value))
            state = state._replace(wrong=state.wrong or judge(state.log, after.verdict, after.answer, state.highest))
        if not rules.under_the_lock and after.phase == ASLEEP:
            after = after._replace(phase=DECIDED, next_offset=waiter.next_offset, verdict=ASLEEP)
        return f"decides: {verdict.value}", state, after


def _reconsider(waiter: Waiter, now: Cover) -> bool:
    """Do what ``Engine._reconsider`` does; the pauses between its looks at values change nothing here."""
    seen = waiter.seen
    proven = now.watermark >= waiter.next_offset >= 0
    newly = proven and (seen is None or seen.watermark < waiter.next_offset)
    moved = seen is None or (seen.generation, seen.start) != (now.generation, now.start)
    moved = moved or (waiter.next_offset < 0 and seen is not None and seen.watermark < now.watermark)
    return newly or moved


def _heard(state: State, looked: Cover | None) -> State:
    return state._replace(highest=max(state.highest, looked.watermark)) if looked is not None else state


def _normalised(state: State) -> State:
    """Forget the highest watermark where every later look brings at least as much: states that differ in it are one."""
    if state.faults or state.view is None or state.view.watermark < state.highest:
        return state
    if any(w.looked is not None and w.looked.watermark < state.highest for w in state.waiters):
        return state
    return state._replace(highest=-1)


def _best(log: str, value: Cover | None) -> int:
    found = folded(log, value.start, value.watermark) if value is not None else None
    return found.best.offset if found is not None and found.best is not None else -1


def _generations(state: State) -> frozenset[int]:
    """Return the generations that some waiter remembers, or is about to."""
    return frozenset(cover.generation for w in state.waiters for cover in (w.seen, w.value, w.looked) if cover)


def _sorted(waiters: list[Waiter] | tuple[Waiter, ...]) -> tuple[Waiter, ...]:
    """Return waiters in one order: which of them is which makes no difference."""
    return tuple(sorted(waiters, key=repr)) if len(waiters) > 1 else tuple(waiters)
