"""How a compactor behaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from streamresults.compactor.folding import FoldLimits


class CompactorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a compactor behaves."""

    namespace: str
    #: A generation that must begin does so at the log's oldest record instead of its end.
    from_earliest: bool = False
    allow_eviction: bool = False
    rewind_max: int = 1_000_000
    #: Seconds between looks at which topic there is: new partitions, and the topic's end, are noticed within that.
    topic_refresh: float = 10.0
    limits: FoldLimits
