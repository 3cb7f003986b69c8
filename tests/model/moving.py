"""A view that moves in more ways than the real one can, and what may be answered from it and from the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamresults.client.decisions import AfterLook
from streamresults.events.states import RANK_SUCCESS
from tests.model.records import FAILURE, SUCCESS, TOMBSTONE, UNREADABLE, folded

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cover(NamedTuple):
    """Coverage as a reader sees it: the view has folded [start, watermark)."""

    generation: int
    start: int
    watermark: int


def moves(
    view: Cover | None, end: int, *, faults: int, others: frozenset[int]
) -> Iterator[tuple[str, Cover | None, bool]]:
    """
    Return how coverage may move, and which moves are faults; larger moves are several of these.

    Args:
        others: Generations that somebody remembers.
    """
    fresh = next(
        number for number in range(len(others) + 2) if number not in others and (not view or number != view[0])
    )
    if view is None:
        for start in range(end + 1):
            yield f"a view begins at {start}", Cover(fresh, start, start), False
        return
    if view.watermark < end:
        yield f"the watermark becomes {view.watermark + 1}", view._replace(watermark=view.watermark + 1), False
    if view.start > 0:
        yield f"the start becomes {view.start - 1}", view._replace(start=view.start - 1), False
    if faults:
        yield "FLUSHALL", None, True
        for generation in sorted(others | {view.generation, fresh}):
            for watermark in range(end + 1):
                for start in range(watermark + 1):
                    older = Cover(generation, start, watermark)
                    if older != view:
                        yield f"failover to {described(older)} of generation {generation}", older, True


def judge(log: str, verdict: str, answer: int, known: int) -> str:
    """
    Say what is wrong with an answer, empty if nothing is.

    Args:
        verdict: ``topic``, or what :class:`AfterLook` calls it.
        answer: The offset of the record that was answered.
        known: Whoever answers knows what the log holds below it; 0 for nothing.
    """
    if verdict == AfterLook.DEAD_LETTERED.value:
        return "" if UNREADABLE in log else "dead-lettered, and every record can be read"
    if log[answer] not in FAILURE + SUCCESS:
        return "the answer is not ready"
    if TOMBSTONE in log[answer:known]:
        return "this result is known to be forgotten, and is answered"
    if verdict == AfterLook.DONE_PARTIAL.value:
        return ""
    stood = {folded(log, 0, end) for end in range(len(log) + 1)}
    bests = [summary.best for summary in stood if summary is not None and summary.best is not None]
    if log[answer] == SUCCESS:
        return "" if any(best.rank == RANK_SUCCESS for best in bests) else "a success is answered, and none ever stood"
    there = any(best.offset == answer for best in bests)
    return "" if there else "a failure that never stood is answered, and not marked partial"


def described(view: Cover | None) -> str:
    """Return coverage as it is written in a trace."""
    return "nothing" if view is None else f"[{view.start}, {view.watermark})"
