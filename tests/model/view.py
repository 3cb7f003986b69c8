"""
The view of one partition: compactors, back-fill lanes, and everything that may happen to Redis and to the log.

What a script does is decided by ``decide_live`` and ``decide_backfill`` alone, what a live batch says of itself by
``Lane``; here stands only who does what when. A lane paused between its fetch and its script *is* the zombie.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from streamresults.compactor.lane import Lane
from streamresults.store.coverage import BackfillClaim, Coverage, LiveClaim, Outcome
from tests.model.explore import Step
from tests.model.records import Bundles
from tests.model.values import Values
from tests.model.view_state import (
    CRASH,
    FAILOVER,
    FLUSH,
    LOSS,
    MARKER,
    REPLY,
    RETENTION,
    Batch,
    Live,
    State,
    View,
    ViewBounds,
    ViewRules,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_GENERATIONS: Final = [b"gen-%04d" % number for number in range(64)]


class ViewModel:
    """Explores :class:`State`; see :class:`tests.model.explore.Model`."""

    def __init__(self, bounds: ViewBounds, rules: ViewRules) -> None:
        self._bounds: Final = bounds
        self._rules: Final = rules
        self._bundles: Final = Bundles(bounds.records, bounds.letters)
        self._values: Final = Values(self._bundles, stamped=rules.stamped)
        self._tracks_loss: Final = LOSS in bounds.kinds or not rules.proof_after_watermark
        self._right: Final = cache(self._right_stretches)

    def initial(self) -> Iterator[State]:
        """Begin with an empty log, no view, and nothing assigned."""
        bounds = self._bounds
        yield State((), 0, 0, None, None, (Live(),) * bounds.compactors, ((),) * bounds.backfills, bounds.faults)

    def steps(self, state: State) -> Iterator[Step[State]]:
        """Return what publishers, compactors, back-fill lanes and misfortune may do next."""
        yield from self._publish(state)
        for number, lane in enumerate(state.lanes):
            if lane not in state.lanes[:number]:
                yield from self._live_steps(state, number, lane)
        for number, pending in enumerate(state.backs):
            if pending not in state.backs[:number]:
                yield from self._backfill_steps(state, number, pending)
        if state.faults:
            yield from self._misfortunes(state)

    def wrong(self, state: State) -> str:
        """Compare what readers see with the log."""
        if state.wrong or state.view is None:
            return state.wrong
        coverage, end = state.view.coverage, len(state.log)
        if coverage.watermark > end:
            return "" if LOSS in self._bounds.kinds else "the watermark is beyond the end of the log"
        if coverage.complete and coverage.start > state.low:
            return "coverage is called complete, and records below its start can still be read"
        shown = self._values.shown(state.view.values, coverage.generation)
        right = self._right(state.log, coverage.start, coverage.watermark, min(state.low, coverage.watermark))
        if shown in right:
            return ""
        return f"coverage is [{coverage.start}, {coverage.watermark}), in {self._bundles.difference(shown, right[0])}"

    def good(self, state: State) -> bool:
        """Ask for all records published, and all that can be read folded."""
        if state.published < self._bounds.records or state.view is None:
            return False
        return state.view.coverage.watermark == len(state.log) and state.view.coverage.complete

    def _right_stretches(self, log: tuple[int, ...], start: int, watermark: int, low: int) -> tuple[int, ...]:
        """Return what may be shown: records that retention has taken may be folded or not."""
        begins = range(start, max(start, low) + 1)
        return tuple(self._bundles.stretch(log[begin:watermark], begin) for begin in begins)

    # -- the log ----------------------------------------------------------------------------------------------------

    def _publish(self, state: State) -> Iterator[Step[State]]:
        end = len(state.log)
        if state.published == self._bounds.records or (LOSS in self._bounds.kinds and state.reaches_beyond(end)):
            return
        after = state._replace(log=(*state.log, state.published), published=state.published + 1)
        yield Step(f"a record is published at {end}", after)
        if self._bounds.markers:
            yield Step(f"a transaction ends at {end}", after._replace(log=(*state.log, MARKER)))

    def _misfortunes(self, state: State) -> Iterator[Step[State]]:
        kinds = self._bounds.kinds
        if FLUSH in kinds and state.view is not None:
            yield _fault("FLUSHALL", state, view=None)
        if FAILOVER in kinds and state.replica != state.view:
            yield _fault(f"failover to {_range(state.replica)}", state, view=state.replica)
            yield Step("the replica catches up", state._replace(replica=state.view))
        if RETENTION in kinds and state.low < len(state.log):
            yield _fault(f"retention takes {state.low}", state, low=state.low + 1)
        if LOSS in kinds and len(state.log) > state.low:
            yield _fault(f"the log loses {len(state.log) - 1}", state, log=state.log[:-1])

    # -- compactors -------------------------------------------------------------------------------------------------

    def _live_steps(self, state: State, number: int, lane: Live) -> Iterator[Step[State]]:
        end, who = len(state.log), f"compactor at {lane.position}"
        if lane.position < 0:
            yield Step(f"a compactor is assigned at the end {end}", _lane(state, number, self._at_end(state, b"")))
            return
        if state.faults and CRASH in self._bounds.kinds:
            yield _fault(f"{who} crashes", state, lanes=_with(state.lanes, number, Live()))
        if lane.pending:
            yield from self._run_script(state, number, lane)
        elif self._tracks_loss and lane.position > lane.end_seen:
            yield Step(f"{who} asks where the log ends", _lane(state, number, self._ask_end(lane, end)))
        else:
            if lane.low != state.low:
                yield Step(f"{who} reads the low watermark", _lane(state, number, lane._replace(low=state.low)))
            if not state.low <= lane.position <= end:
                after = self._at_end(state, lane.generation)
                yield Step(f"{who} is out of range and goes to the end {end}", _lane(state, number, after))
            for pending in self._fetches(state, lane):
                seen = max(lane.end_seen, pending[-1].claim.end) if self._tracks_loss else 0
                after = lane._replace(pending=pending, end_seen=seen)
                yield Step(f"{who} fetches {_spans(pending)}", _lane(state, number, after))

    def _at_end(self, state: State, generation: bytes) -> Live:
        end = len(state.log)
        return Live((), end, state.low, end if self._tracks_loss else 0, generation)

    def _ask_end(self, lane: Live, end: int) -> Live:
        """Do what ``Compactor._check_loss`` does."""
        known = end if self._rules.proof_after_watermark else lane.end_seen
        if lane.position <= known:
            return lane._replace(end_seen=known)
        return lane._replace(pending=(Batch(_proof(lane.generation, lane.position, lane.low, known), 0),))

    def _fetches(self, state: State, lane: Live) -> Iterator[tuple[Batch, ...]]:
        """Return what may arrive, as the batches it is cut into; an empty batch may be sent at any time."""
        begin, end = lane.position, len(state.log)
        yield (self._batch(state, lane, begin, begin),)
        if begin < state.low:
            return
        for stop in range(begin + 1, end + 1):
            records = stop - begin - state.log[begin:stop].count(MARKER)
            if records > self._bounds.batch:
                return
            # A fetch ends behind a record; over markers alone it gets only at the end of the log.
            if state.log[stop - 1] == MARKER and (records or stop < end):
                continue
            yield (self._batch(state, lane, begin, stop),)
            if self._bounds.pieces > 1:
                for cut in range(begin + 1, stop):
                    yield (self._batch(state, lane, begin, cut), self._batch(state, lane, cut, stop))

    def _batch(self, state: State, lane: Live, begin: int, end: int) -> Batch:
        records, claimed = state.log[begin:end], begin
        if self._rules.begin_at_first_record:
            claimed = next((at for at in range(begin, end) if state.log[at] != MARKER), begin)
        claim = _claim(lane.low, claimed, end, self._bounds.rewind_max, from_low=self._bounds.from_low)
        return Batch(claim, self._bundles.stretch(records, begin))

    def _run_script(self, state: State, number: int, lane: Live) -> Iterator[Step[State]]:
        (claim, segment), *rest = lane.pending
        assert isinstance(claim, LiveClaim)
        before = state.view.coverage if state.view is not None else None
        fresh = claim._replace(fresh_generation=self._unused(state))
        outcome, coverage, began = self._rules.decide_live(before, fresh, 0)
        values = state.view.values if state.view is not None else 0
        if outcome is Outcome.APPLIED:
            values = self._values.fold_in(values, coverage.generation, segment, backwards=False)
        wrong = ""
        if before is not None:
            if not began and coverage.watermark < before.watermark:
                wrong = "the watermark went down within a generation"
            if began and claim.lost_generation and before.watermark <= len(state.log):
                wrong = "a generation was begun because of a loss that never was"
        view = View(coverage, values)
        label = (
            f"script of [{claim.begin}, {claim.end}): {outcome.name.lower()}{', begins' * began}, view {_range(view)}"
        )
        position = coverage.watermark if self._rules.go_on_at_watermark or began else claim.end
        after = lane._replace(
            pending=tuple(rest),
            position=lane.position if rest else position,
            generation=coverage.generation if self._tracks_loss else b"",
        )
        reached = state._replace(view=view, wrong=wrong)
        yield Step(label, _lane(reached, number, after))
        if state.faults and REPLY in self._bounds.kinds:
            yield _fault(f"{label}, answer lost", reached, lanes=_with(state.lanes, number, lane._replace(pending=())))

    def _unused(self, state: State) -> bytes:
        """Return a generation that nobody knows: random bytes never meet, and fewer names are fewer states."""
        used = {lane.generation for lane in state.lanes}
        used |= {b.claim.lost_generation for n in state.lanes for b in n.pending if isinstance(b.claim, LiveClaim)}
        used |= {b.claim.generation for p in state.backs for b in p if isinstance(b.claim, BackfillClaim)}
        for view in (state.view, state.replica):
            if view is not None:
                used |= {view.coverage.generation} | self._values.generations(view.values)
        return next(generation for generation in _GENERATIONS if generation not in used)

    # -- back-fill --------------------------------------------------------------------------------------------------

    def _backfill_steps(self, state: State, number: int, pending: tuple[Batch, ...]) -> Iterator[Step[State]]:
        if not pending:
            # What a lane knows of the view may be an older moment: a failover can bring that one back.
            known = {view.coverage for view in (state.view, state.replica) if view is not None}
            for coverage in sorted(known, key=lambda found: (found.generation, found.start)):
                if not coverage.complete:
                    for read in self._reads(state, coverage):
                        yield Step(f"back-fill reads {_spans(read)}", _back(state, number, read))
            return
        if state.faults and CRASH in self._bounds.kinds:
            yield _fault("the back-fill lane crashes", state, backs=_with(state.backs, number, ()))
        (claim, segment), *rest = pending
        assert isinstance(claim, BackfillClaim)
        before = state.view.coverage if state.view is not None else None
        found = self._rules.decide_backfill(before, claim, 0)
        reached, after = state, "refused"
        if found is not None and state.view is not None:
            values = self._values.fold_in(state.view.values, found.generation, segment, backwards=True)
            reached = state._replace(view=View(found, values))
            after = f"applied, view {_range(reached.view)}"
        label = f"back-fill script of [{claim.begin}, {claim.end}): {after}"
        yield Step(label, _back(reached, number, tuple(rest)))

    def _reads(self, state: State, coverage: Coverage) -> Iterator[tuple[Batch, ...]]:
        """Do what ``Backfill._fill`` does: a chunk of any size, or an empty one where retention has taken the rest."""
        end, generation = coverage.start, coverage.generation
        if state.low >= end:
            yield (Batch(BackfillClaim(coverage.target, end, generation), 0),)
            return
        if end > len(state.log):
            return

        def piece(begin: int, stop: int) -> Batch:
            segment = self._bundles.stretch(state.log[begin:stop], begin)
            return Batch(BackfillClaim(begin, stop, generation), segment)

        for begin in range(max(coverage.target, state.low, end - self._bounds.batch), end):
            yield (piece(begin, end),)
            if self._bounds.pieces > 1:
                for cut in range(begin + 1, end):
                    yield (piece(cut, end), piece(begin, cut))


@cache
def _claim(low: int, begin: int, end: int, rewind_max: int, *, from_low: bool) -> LiveClaim:
    """Return what a real lane claims, but for the generation, which is drawn when the script runs."""
    return Lane(0, begin, low, from_low=from_low).claim(begin, end, rewind_max)._replace(fresh_generation=b"")


@cache
def _proof(generation: bytes, watermark: int, low: int, log_end: int) -> LiveClaim:
    lost = Coverage(generation=generation, start=0, watermark=watermark, target=0, as_of_ms=0)
    claim = Lane(0, watermark, low, from_low=False).proof_of_loss(lost, log_end)
    return claim._replace(fresh_generation=b"")


def _with(lanes: tuple, number: int, lane: object) -> tuple:  # type: ignore[type-arg]
    """Replace one of several lanes; which of them is which makes no difference."""
    return tuple(sorted((*lanes[:number], lane, *lanes[number + 1 :])))


def _lane(state: State, number: int, lane: Live) -> State:
    return state._replace(lanes=_with(state.lanes, number, lane))


def _back(state: State, number: int, pending: tuple[Batch, ...]) -> State:
    return state._replace(backs=_with(state.backs, number, pending))


def _fault(label: str, state: State, **changes: object) -> Step[State]:
    left = state.faults - 1
    after = state._replace(faults=left, **changes)  # type: ignore[arg-type]
    # Once no fault is left, what a replica holds makes no difference.
    return Step(label, after if left else after._replace(replica=None), fault=True)


def _range(view: View | None) -> str:
    return "nothing" if view is None else f"[{view.coverage.start}, {view.coverage.watermark})"


def _spans(pending: tuple[Batch, ...]) -> str:
    return " ".join(f"[{batch.claim.begin}, {batch.claim.end})" for batch in pending)
