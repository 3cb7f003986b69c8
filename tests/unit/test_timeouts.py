"""One rule for every timeout of a client: not stated is the setting, None is for ever, a negative one is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamresults.settings import Settings
from streamresults.store.memory import MemoryStore
from streamresults.topic.memory import MemoryBroker
from streamresults.wiring import Wiring
from tests.conftest import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.client import Client


@pytest.mark.parametrize(
    "call",
    [
        lambda client, timeout: client.get("t", timeout),
        lambda client, timeout: client.wait("t", timeout),
        lambda client, timeout: client.lookup("t", timeout=timeout),
        lambda client, timeout: client.forget("t", timeout),
    ],
    ids=["get", "wait", "lookup", "forget"],
)
@pytest.mark.parametrize("timeout", [-1, -1.0, -0.5])
def test_negative_timeout_is_refused_and_named(
    memory_wiring: Wiring, call: Callable[[Client, float], Any], timeout: float
) -> None:
    """No number means the default: whoever computes a timeout below 0 has made a mistake."""
    with memory_wiring.client() as client, pytest.raises(ValueError, match=str(timeout)):
        call(client, timeout)


def test_unstated_timeout_is_the_setting() -> None:
    """Here it takes one look."""
    with Wiring(Settings(wait_timeout=0.0), broker=MemoryBroker(), store=MemoryStore()) as wiring:
        create_topics(wiring)
        with wiring.client() as client, pytest.raises(TimeoutError, match="timeout=0"):
            client.wait("t")
