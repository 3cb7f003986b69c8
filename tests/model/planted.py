"""
Faults planted on purpose, one for each clause of the protocol: a model that does not find them proves nothing.

Each is explored within bounds that are just large enough, and the same bounds are explored without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from streamresults.client.decisions import AfterRecord, after_record
from streamresults.store.coverage import LiveDecision, Outcome, decide_live
from tests.model.join import JoinBounds, JoinModel, JoinRules
from tests.model.poll import PollBounds, PollModel, PollRules
from tests.model.view import ViewModel
from tests.model.view_state import CRASH, LOSS, ViewBounds, ViewRules

if TYPE_CHECKING:
    from streamresults.store.coverage import BackfillClaim, Coverage, LiveClaim
    from tests.model.explore import Model


def _backfill_without_comparing(current: Coverage | None, claim: BackfillClaim, _now_ms: int) -> Coverage | None:
    if current is None or current.complete:
        return None
    return replace(current, start=claim.begin)


def _applied_though(outcome: Outcome, current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    found = decide_live(current, claim, now_ms)
    if found.outcome is not outcome:
        return found
    watermark = max(found.coverage.watermark, claim.end)
    return LiveDecision(Outcome.APPLIED, replace(found.coverage, watermark=watermark), found.began)


def _applied_though_ahead(current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    return _applied_though(Outcome.AHEAD, current, claim, now_ms)


def _applied_though_behind(current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    return _applied_though(Outcome.BEHIND, current, claim, now_ms)


def _least_ignored(current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    return decide_live(current, claim._replace(least=0), now_ms)


def _loss_of_any_generation(current: Coverage | None, claim: LiveClaim, now_ms: int) -> LiveDecision:
    if current is not None and claim.lost_generation:
        claim = claim._replace(lost_generation=current.generation)
    return decide_live(current, claim, now_ms)


def _whatever_was_folded(*, asleep: bool, folded_to: int, offset: int, rank: int) -> AfterRecord:
    del folded_to
    return after_record(asleep=asleep, folded_to=0, offset=offset, rank=rank)


class Planted(NamedTuple):
    """One fault."""

    name: str
    faulty: Model[Any]
    sound: Model[Any]


def _view(name: str, bounds: ViewBounds, **rules: Any) -> Planted:
    return Planted(name, ViewModel(bounds, ViewRules(**rules)), ViewModel(bounds, ViewRules()))


def _join(name: str, bounds: JoinBounds, **rules: Any) -> Planted:
    return Planted(name, JoinModel(bounds, JoinRules(**rules)), JoinModel(bounds, JoinRules()))


def _poll(name: str, bounds: PollBounds, **rules: bool) -> Planted:
    return Planted(name, PollModel(bounds, PollRules(**rules)), PollModel(bounds, PollRules()))


_VIEW: Final = ViewBounds(records=2, compactors=1, backfills=1, faults=1)
_TWO: Final = _VIEW._replace(compactors=2)
_NO_FAULT: Final = frozenset[str]()
_JOIN: Final = JoinBounds(records=2, waiters=1, resets=0, faults=0)
_POLL: Final = PollBounds(records=2, faults=0, rereads=False)

PLANTED: Final = (
    _view("back-fill without compare-and-set", _VIEW, decide_backfill=_backfill_without_comparing),
    _view("a batch above the watermark is applied (A < b)", _VIEW, decide_live=_applied_though_ahead),
    _view("a batch below the watermark is applied (A > b)", _TWO, decide_live=_applied_though_behind),
    _view("values without generation", _VIEW._replace(rewind_max=0), stamped=False),
    _view(
        "b is the first record's offset",
        _VIEW._replace(markers=True, faults=0, kinds=_NO_FAULT),
        begin_at_first_record=True,
    ),
    _view("a lane goes on behind its own batch, not at A", _TWO, go_on_at_watermark=False),
    _view("a watermark below the least is continued", _VIEW, decide_live=_least_ignored),
    _view(
        "loss is proved from what was known before A was read",
        _TWO._replace(faults=0, kinds=_NO_FAULT),
        proof_after_watermark=False,
    ),
    _view(
        "a proof of loss holds for any generation",
        _TWO._replace(records=3, kinds=frozenset({LOSS, CRASH})),
        decide_live=_loss_of_any_generation,
    ),
    _join("the proof is made against S, not R", _JOIN, proof_against_next=False),
    _join("two reads instead of one", _JOIN, one_look=False),
    _join("deciding outside the dispatch lock", _JOIN, under_the_lock=False),
    _join("a reset is told to sleepers only", _JOIN._replace(resets=1), reset_tells_all=False),
    _join("a miss is believed though coverage is incomplete", _JOIN, miss_needs_complete=False),
    _join("an answer from below the highest watermark seen", _JOIN._replace(faults=1), never_backwards=False),
    _join("a record delivered before the sleep does not move R", _JOIN, looks_beyond=False),
    _join("a sleeper takes what its view had folded", _JOIN, after_record=_whatever_was_folded),
    _poll("only the live lane publishes", _POLL, backfill_tells=False),
    _poll("the channel is subscribed after the look", _POLL, subscribed_first=False),
    _poll("a message during a look is dropped", _POLL, looks_again=False),
    _poll("a mark is not told", _POLL, marks_tell=False),
)
