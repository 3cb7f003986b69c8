"""
A payload that names a key is encrypted, and nothing here decrypts: its bytes are never taken for a plain value.

We test these aspects: whoever asks for the value, in whatever way; what else is known of the task; no payload at all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from streamresults.cli.facts import event_facts
from streamresults.errors import PayloadEncrypted, PayloadError
from streamresults.events.event import Event, Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.wiring import Wiring

SOON = 20.0
SEALED = Event(
    task_id="t", state="SUCCESS", payload=Payload(content_type="application/json", body=b"1", key_id="data-\x1b7")
)


def test_an_encrypted_result_is_refused_whoever_asks(memory_wiring: Wiring) -> None:
    """Though its bytes are JSON by chance, or on purpose; the error names the key."""
    with memory_wiring.publisher() as publisher:
        publisher.publish(SEALED)
    memory_wiring.compactor(from_earliest=True).run_once(threading.Event(), SOON)
    with memory_wiring.client() as client:
        found = client.lookup("t")
        asked: list[Callable[[], object]] = [
            found.value,
            found.encoded,
            lambda: found.result,
            lambda: client.get("t", SOON),
        ]
        for ask in asked:
            with pytest.raises(PayloadEncrypted, match=r"'data-\\x1b7'") as refused:
                ask()
            assert (True, "data-\x1b7") == (isinstance(refused.value, PayloadError), refused.value.key_id)
        assert ("SUCCESS", True) == (found.state, found.successful)


def test_the_command_line_says_so(memory_wiring: Wiring) -> None:
    """In the place of the result."""
    facts = event_facts(SEALED, memory_wiring.decoding())

    assert facts["result"] is None
    assert facts["unreadable"].startswith("PayloadEncrypted: the payload is encrypted with key")


def test_a_key_without_a_payload_is_no_payload(memory_wiring: Wiring) -> None:
    """There is nothing that could be taken for something else."""
    with memory_wiring.publisher() as publisher:
        publisher.publish(Event(task_id="t", state="SUCCESS", payload=Payload(key_id="k")))
    memory_wiring.compactor(from_earliest=True).run_once(threading.Event(), SOON)
    with memory_wiring.client() as client:
        assert client.lookup("t").result is None
