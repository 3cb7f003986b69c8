"""The states of a task, and the order among them that the fold uses ("The fold" in docs/architecture.md)."""

from __future__ import annotations

from typing import Final

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
RETRY: Final = "RETRY"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
IGNORED: Final = "IGNORED"
#: The state of a saved group; a later save replaces an earlier one.
SAVED: Final = "SAVED"
#: Not a state of any record: the answer for an id of which the log holds none.
UNKNOWN: Final = "UNKNOWN"

#: A result, an exception or a revocation stands: a wait ends.
READY: Final = frozenset({SUCCESS, FAILURE, REVOKED})
#: The payload of these is an exception.
EXCEPTION: Final = frozenset({RETRY, FAILURE, REVOKED})
#: A wait raises the exception of these.
PROPAGATE: Final = frozenset({FAILURE, REVOKED})
#: Nothing more will come, whatever the record's terminal flag says.
ALWAYS_TERMINAL: Final = READY | {REJECTED, IGNORED}

RANK_PENDING: Final = 0
RANK_RECEIVED: Final = 1
RANK_UNREADY: Final = 2
RANK_READY: Final = 3
RANK_SUCCESS: Final = 4

_RANKS: Final = {
    PENDING: RANK_PENDING,
    RECEIVED: RANK_RECEIVED,
    FAILURE: RANK_READY,
    REVOKED: RANK_READY,
    REJECTED: RANK_READY,
    IGNORED: RANK_READY,
    SUCCESS: RANK_SUCCESS,
}


def is_terminal(state: str, *, terminal: bool) -> bool:
    """Tell whether nothing more will come after ``state``, published with the flag ``terminal``."""
    return terminal or state in ALWAYS_TERMINAL


def rank(state: str, *, terminal: bool) -> int:
    """
    Return the rank of a state: PENDING < RECEIVED < unready < ready or terminal < SUCCESS.

    At equal rank the later event is the better one, except that the first SUCCESS stays.
    """
    found = _RANKS.get(state)
    if found is None or found < RANK_READY:
        return RANK_READY if terminal else (RANK_UNREADY if found is None else found)
    return found
