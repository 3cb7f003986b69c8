"""What a compactor's allowlist says to the exceptions that pass it: counted, and each unlisted type logged once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamresults.errors import StreamResultsError
from streamresults.events.states import RANK_READY

if TYPE_CHECKING:
    from streamresults.events.allowlist import ExceptionAllowlist
    from streamresults.events.codec import Codec


class Judging:
    """
    Ranks records for the fold as the codec does, and looks into those that end a task without a success.

    Made only where an allowlist is configured: elsewhere the codec itself ranks. Nothing is refused for it, as the
    readers decide; a record that is folded again is counted again.
    """

    def __init__(self, codec: Codec, allowlist: ExceptionAllowlist) -> None:
        self._codec: Final = codec
        self._allowlist: Final = allowlist

    def rank_and_expiry(self, task_id: str, key: bytes, value: bytes) -> tuple[int, int]:
        """Do what :meth:`Codec.rank_and_expiry` does."""
        found = self._codec.rank_and_expiry(task_id, key, value)
        if found[0] == RANK_READY:
            self._judge(value)
        return found

    def _judge(self, value: bytes) -> None:
        try:
            nodes = self._codec.decode(value).exception
        except StreamResultsError:
            return  # its reader is told
        for node in nodes:
            self._allowlist.judge_passing(node.module, node.qualname)
