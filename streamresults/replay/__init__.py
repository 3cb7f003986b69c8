"""Re-reads a bounded range of the log, and holds the view against it. Commits and writes nothing, joins no group."""

from streamresults.replay.replay import Replay, Replayed
from streamresults.replay.scan import Covered
from streamresults.replay.verdict import Difference, Verdict, Verified

__all__ = ["Covered", "Difference", "Replay", "Replayed", "Verdict", "Verified"]
