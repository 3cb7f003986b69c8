"""What the tests of registrations share: functions to be called."""

from __future__ import annotations

from queue import SimpleQueue

from streamresults import Registration
from tests.unit.desk import SOON


class Told(SimpleQueue[Registration]):
    """Keeps the registrations whose tasks have ended, in the order of the calls."""

    def state(self) -> str:
        return self.get(timeout=SOON).result().state


def nothing(_: object) -> None:
    pass
