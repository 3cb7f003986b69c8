"""
Waiting through the view: interests, the fold's messages, and what may be lost on the way.

With the safety re-reads off nothing may be lost without a fault; with them on nothing may be lost at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.client.decisions import AfterLook, Seen, after_look
from streamresults.events.fold import NEVER
from streamresults.events.states import RANK_READY
from tests.model.explore import Step
from tests.model.moving import judge, moves
from tests.model.records import UNREADABLE, folded, rank_of, summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.moving import Cover

NEW: Final = "new"
LOOKING: Final = "looking"
#: A look is under way: it was read, and nothing was decided.
READ: Final = "read"
ASLEEP: Final = "asleep"
OVER: Final = "over"


class PollRules(NamedTuple):
    """Every clause of the protocol that a planted fault takes away."""

    #: Every script that makes a value ready tells those who are interested; else only a live one does.
    backfill_tells: bool = True
    #: The channel is subscribed before the first look; else after it.
    subscribed_first: bool = True
    #: A message that arrives during a look has it done again.
    looks_again: bool = True
    #: A mark is told too.
    marks_tell: bool = True


class PollBounds(NamedTuple):
    """How much is explored."""

    records: int
    #: Flushes, failovers, lost messages and expired interests.
    faults: int
    rereads: bool
    letters: str = "SFXTU-"


class State(NamedTuple):
    """Everything at one moment."""

    log: str
    view: Cover | None
    #: The process has left word in the task.
    interest: bool
    subscribed: bool
    #: A message is under way.
    message: bool
    phase: str
    looked: Cover | None
    #: The last look was at an older view than one before: it is repeated whatever else is off.
    unusable: bool
    highest: int
    faults: int
    wrong: str = ""


class PollModel:
    """Explores :class:`State`; see :class:`tests.model.explore.Model`."""

    def __init__(self, bounds: PollBounds, rules: PollRules) -> None:
        self._bounds: Final = bounds
        self._rules: Final = rules

    def initial(self) -> Iterator[State]:
        """Begin with nothing."""
        yield State("", None, False, False, False, NEW, None, False, -1, self._bounds.faults)

    def steps(self, state: State) -> Iterator[Step[State]]:
        """Return what publishers, the view, its messages and the waiter may do next, until its wait is over."""
        if state.phase == OVER:
            return
        if len(state.log) < self._bounds.records:
            for letter in self._bounds.letters:
                yield Step(f"{letter} is published at {len(state.log)}", state._replace(log=state.log + letter))
        others = frozenset({state.looked.generation} if state.looked else ())
        for label, view, fault in moves(state.view, len(state.log), faults=state.faults, others=others):
            yield from self._moved(state, label, view, fault=fault)
        yield from self._message_steps(state)
        yield from self._waiter_steps(state)

    def wrong(self, state: State) -> str:
        """Report what an answer must never be; it was judged when it was given."""
        return state.wrong

    def good(self, state: State) -> bool:
        """Ask for an answer, or for a sleep because there is none."""
        end = len(state.log)
        if state.phase == OVER:
            return True
        ends = rank_of(folded(state.log, 0, end)) >= RANK_READY or UNREADABLE in state.log
        shown = state.view is not None and state.view[1:] == (0, end)
        return end == self._bounds.records and shown and state.phase == ASLEEP and not state.message and not ends

    def _moved(self, state: State, label: str, view: Cover | None, *, fault: bool) -> Iterator[Step[State]]:
        if fault:
            lost = state._replace(view=view, faults=state.faults - 1)
            yield Step(f"{label}, interests lost", lost._replace(interest=False), fault=True)
            if view is not None and state.interest:
                yield Step(f"{label}, interests kept", lost, fault=True)
            return
        before = state.view
        told = False
        if before is not None and view is not None and state.interest:
            backwards = view.start < before.start
            letter = state.log[view.start if backwards else before.watermark]
            ready = rank_of(folded(state.log, view.start, view.watermark)) >= RANK_READY
            told = ready and summary_of(letter, 0) is not None
            told = told or (letter == UNREADABLE and self._rules.marks_tell)
            told = told and (self._rules.backfill_tells or not backwards)
        message = state.message or (told and state.subscribed)
        after = state._replace(view=view, interest=state.interest and not told, message=message)
        yield Step(f"{label}{' and the process is told' * told}", after)

    def _message_steps(self, state: State) -> Iterator[Step[State]]:
        if state.message:
            again = state.phase == ASLEEP or (state.phase == READ and self._rules.looks_again)
            heard = state._replace(message=False)
            yield Step("the message arrives", heard._replace(phase=LOOKING, looked=None) if again else heard)
            if state.faults:
                yield Step("the message is lost", heard._replace(faults=state.faults - 1), fault=True)
        if state.interest and state.faults:
            yield Step("the interest expires", state._replace(interest=False, faults=state.faults - 1), fault=True)

    def _waiter_steps(self, state: State) -> Iterator[Step[State]]:
        if state.phase == NEW:
            subscribed = self._rules.subscribed_first
            yield Step("the waiter begins", state._replace(phase=LOOKING, subscribed=subscribed))
        elif state.phase == LOOKING:
            view = state.view
            ready = view is not None and rank_of(folded(state.log, view.start, view.watermark)) >= RANK_READY
            interest = state.interest or not ready
            after = state._replace(phase=READ, looked=view, interest=interest)
            yield Step("the waiter looks and leaves word" if not ready else "the waiter looks", after)
        elif state.phase == READ:
            yield self._decide(state)
        elif state.phase == ASLEEP and not state.subscribed:
            yield Step("the channel is subscribed", state._replace(subscribed=True))
        elif state.phase == ASLEEP and (self._bounds.rereads or state.unusable):
            yield Step("the waiter reads again", state._replace(phase=LOOKING, unusable=False))

    def _decide(self, state: State) -> Step[State]:
        """Do what ``Engine._decide`` does for those who wait through the view."""
        looked, seen, highest = state.looked, None, state.highest
        best = -1
        if looked is not None:
            highest = max(highest, looked.watermark)
            value = folded(state.log, looked.start, looked.watermark)
            best = value.best.offset if value is not None and value.best is not None else -1
            marked = UNREADABLE in state.log[looked.start : looked.watermark]
            seen = Seen(looked.watermark, looked.start == 0, rank_of(value), marked)
        verdict = after_look(seen, NEVER, highest)
        state = state._replace(looked=None, highest=highest)
        if verdict is AfterLook.AGAIN:
            unusable = seen is None or seen.watermark < highest
            return Step("the waiter sleeps", state._replace(phase=ASLEEP, unusable=unusable))
        wrong = judge(state.log, verdict.value, best, highest)
        return Step(f"the waiter decides: {verdict.value}", state._replace(phase=OVER, wrong=wrong))
