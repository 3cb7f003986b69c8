"""What there is in the model of the view at one moment, how much of it is explored, and which rules hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamresults.store.coverage import BackfillClaim, Coverage, LiveClaim, LiveDecision, decide_backfill, decide_live
from tests.model.records import LETTERS

if TYPE_CHECKING:
    from collections.abc import Callable

FLUSH: Final = "flush"
#: To an older moment: the replica copies the view at any time.
FAILOVER: Final = "failover"
#: The log forgets its oldest offset.
RETENTION: Final = "retention"
#: Of a compactor or a back-fill lane.
CRASH: Final = "crash"
#: A script ran, and its answer was lost: the batch is sent again.
REPLY: Final = "reply lost"
#: The log loses its last record, which was acknowledged. It is noticed before as many new ones are there: nothing is
#: published meanwhile. After that nobody can tell the new records from the old ones by their offsets.
LOSS: Final = "loss"
FOUR_FAULTS: Final = frozenset({FLUSH, FAILOVER, RETENTION, CRASH})

#: In a log: an offset without a record, as the end of a transaction leaves it.
MARKER: Final = -1


class ViewRules(NamedTuple):
    """Every clause of the protocol that a planted fault takes away."""

    decide_live: Callable[[Coverage | None, LiveClaim, int], LiveDecision] = decide_live
    decide_backfill: Callable[[Coverage | None, BackfillClaim, int], Coverage | None] = decide_backfill
    #: A value of another generation counts as absent.
    stamped: bool = True
    #: b is the offset of the first record instead of the end of the batch before.
    begin_at_first_record: bool = False
    #: The log's end is asked for after the watermark was read; else what was known of it before is used.
    proof_after_watermark: bool = True
    #: What a script returned is where its lane goes on; else the lane goes on behind its own batch.
    go_on_at_watermark: bool = True


class ViewBounds(NamedTuple):
    """How much is explored."""

    records: int
    compactors: int
    backfills: int
    faults: int
    kinds: frozenset[str] = FOUR_FAULTS
    #: Records in one fetch.
    batch: int = 2
    #: Scripts that one fetch may be cut into.
    pieces: int = 1
    rewind_max: int = 1_000_000
    from_low: bool = False
    markers: bool = False
    letters: str = LETTERS


class Batch(NamedTuple):
    """A claim, and the number of the bundle that was folded for it."""

    claim: LiveClaim | BackfillClaim
    segment: int


class Live(NamedTuple):
    """A compactor's lane."""

    #: Fetched, the scripts still to be run; empty: nothing is under way.
    pending: tuple[Batch, ...] = ()
    #: -1: not assigned yet.
    position: int = -1
    low: int = 0
    #: These two matter, and are kept, only where the log may lose records.
    end_seen: int = 0
    generation: bytes = b""


class View(NamedTuple):
    """What Redis holds."""

    coverage: Coverage
    values: int


class State(NamedTuple):
    """Everything at one moment."""

    log: tuple[int, ...]
    published: int
    low: int
    view: View | None
    #: What a replica that lags behind holds.
    replica: View | None
    lanes: tuple[Live, ...]
    #: What each back-fill lane has read and not yet written.
    backs: tuple[tuple[Batch, ...], ...]
    #: Faults that may still happen.
    faults: int
    #: What a step did that no step may do.
    wrong: str = ""

    def reaches_beyond(self, end: int) -> bool:
        """Tell whether anything that was folded, or still may be, lies beyond an end of the log."""
        views = (view.coverage.watermark for view in (self.view, self.replica) if view is not None)
        return any(at > end for at in views) or any(b.claim.end > end for lane in self.lanes for b in lane.pending)
