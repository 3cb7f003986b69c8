"""What is explored by ``make test``, and what ``make model`` adds: each run with its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.model.join import JoinBounds, JoinModel, JoinRules
from tests.model.poll import PollBounds, PollModel, PollRules
from tests.model.view import ViewModel
from tests.model.view_state import CRASH, FLUSH, FOUR_FAULTS, LOSS, REPLY, ViewBounds, ViewRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.explore import Explored, Model


class Run(NamedTuple):
    """One search."""

    name: str
    bounds: ViewBounds | JoinBounds | PollBounds

    def model(self) -> Model[Any]:
        """Return the model, with the project's own decisions and no rule taken away."""
        if isinstance(self.bounds, ViewBounds):
            return ViewModel(self.bounds, ViewRules())
        if isinstance(self.bounds, JoinBounds):
            return JoinModel(self.bounds, JoinRules())
        return PollModel(self.bounds, PollRules())


def told(name: str, found: Explored) -> str:
    """Return a run's line."""
    verdict = "VIOLATED" if found.finding else "holds" if found.exhaustive else "holds as far as seen: NOT EXHAUSTIVE"
    return f"{found.states:9,d} states {found.edges:10,d} steps {found.seconds:7.1f} s  {verdict:8s}  {name}"


def described(run: Run) -> str:
    """Return a run's name and bounds."""
    bounds = ", ".join(f"{key}={_words(value)}" for key, value in run.bounds._asdict().items())
    return f"{run.name}: {bounds}"


def _words(value: object) -> str:
    return "/".join(sorted(map(str, value))) if isinstance(value, frozenset) else str(value)


_VIEW: Final = ViewBounds(records=2, compactors=2, backfills=1, faults=1)
_JOIN: Final = JoinBounds(records=2, waiters=1, resets=1, faults=0)
_LOSSES: Final = frozenset({LOSS, FLUSH, CRASH})

SHORT: Final = (
    Run("view", _VIEW._replace(kinds=FOUR_FAULTS | {REPLY}, pieces=2)),
    Run("view, one more record", _VIEW._replace(records=3)),
    Run("view, transactions", _VIEW._replace(markers=True)),
    Run("view, short rewind", _VIEW._replace(rewind_max=1, faults=2)),
    Run("view, begun at the beginning", _VIEW._replace(from_low=True)),
    Run("view, the log loses records", _VIEW._replace(kinds=_LOSSES)),
    Run("join", _JOIN._replace(records=3)),
    Run("join, every kind of record", _JOIN._replace(letters="SFXTU-")),
    Run("join, the view is lost or old", _JOIN._replace(faults=1)),
    Run("join, two waiters", _JOIN._replace(records=1, waiters=2, faults=1)),
    Run("poll, messages alone", PollBounds(records=3, faults=0, rereads=False)),
    Run("poll, everything may be lost", PollBounds(records=2, faults=1, rereads=True)),
)

LONG: Final = (
    Run("view, four records", _VIEW._replace(records=4, compactors=1, faults=2)),
    Run("view, four records, two compactors", _VIEW._replace(records=4, faults=2)),
    Run("view, two faults, fetches cut in two", _VIEW._replace(faults=2, pieces=2, kinds=FOUR_FAULTS | {REPLY})),
    Run("view, three faults", _VIEW._replace(records=3, compactors=1, faults=3)),
    Run("view, two back-fill lanes", _VIEW._replace(records=3, compactors=1, backfills=2, faults=2)),
    Run("view, short rewind", _VIEW._replace(records=3, rewind_max=1, faults=2)),
    Run("view, transactions", _VIEW._replace(records=3, markers=True)),
    Run("view, begun at the beginning", _VIEW._replace(records=3, from_low=True, faults=2)),
    Run("view, the log loses records", _VIEW._replace(records=3, faults=2, kinds=_LOSSES)),
    Run("join, four records", _JOIN._replace(records=4, letters="FXT")),
    Run("join, two waiters", _JOIN._replace(waiters=2)),
    Run("join, two waiters, the view is lost or old", _JOIN._replace(waiters=2, faults=1, letters="FXT")),
    Run("join, three records, the view is lost or old", _JOIN._replace(records=3, faults=1, letters="FXT")),
    Run("join, two resets, two faults", _JOIN._replace(resets=2, faults=2)),
    Run("join, every kind of record", _JOIN._replace(faults=1, letters="SFXTU-")),
    Run("poll, messages alone", PollBounds(records=4, faults=0, rereads=False)),
    Run("poll, everything may be lost", PollBounds(records=3, faults=2, rereads=True, letters="FTU")),
    Run("poll, every kind of record", PollBounds(records=2, faults=2, rereads=True)),
)


def run_all(
    runs: tuple[Run, ...], say: Callable[[str], None], explore: Callable[[Model[Any]], Explored]
) -> tuple[int, int]:
    """Explore one after the other and say so; return how many promises do not hold, and how many ends were not seen."""
    violated = unfinished = 0
    for run in runs:
        found = explore(run.model())
        say(told(described(run), found))
        if found.finding is not None:
            violated += 1
            say(f"   {found.finding}")
        unfinished += not found.exhaustive
    return violated, unfinished
