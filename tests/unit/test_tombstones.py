"""What becomes of tombstones that the brokers do not take."""

from __future__ import annotations

import pytest

from streamresults.client import tombstones
from streamresults.client.tombstones import Tombstones
from streamresults.deadline import Deadline
from streamresults.errors import PublishFailed
from streamresults.topic.memory import MemoryBroker
from tests.unit.desk import SOON, Desk


@pytest.mark.parametrize("silent", [True, False])
def test_closing_does_not_wait_for_what_its_caller_has_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    """Who was told that it failed, and leaves, is not held up; what may still be on its way has its time."""
    assert isinstance(desk.broker, MemoryBroker)
    found = Tombstones(lambda: desk.broker.writer("results"))
    found.write("a", [0], Deadline(SOON))
    if silent:
        desk.broker.fail("Kafka is away")
        with pytest.raises(PublishFailed):
            found.write("a", [0], Deadline(0))
        desk.broker.fail(None)
    writer, within = found._writer, list[float]()
    assert writer is not None
    monkeypatch.setattr(writer, "close", lambda deadline: within.append(deadline.total))
    found.close(Deadline(SOON))

    assert [tombstones._LET_GO if silent else SOON] == within
