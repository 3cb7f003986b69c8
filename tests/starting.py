"""Starting what a test needs: what cannot be had is a skip at a desk and a failure in CI."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from tests.services import ServiceUnavailable  # also puts the local services on the path

# isort: split
from processes import LocalServicesError

if TYPE_CHECKING:
    from collections.abc import Callable


class Startable(Protocol):
    """A server, or several."""

    def start(self) -> None:
        """Start and wait until it answers."""


Running = TypeVar("Running")
Servers = TypeVar("Servers", bound=Startable)


def required(start: Callable[[], Running]) -> Running:
    """Return what a call starts; where that cannot be had, skip the test, or fail it in CI."""
    try:
        return start()
    except (ServiceUnavailable, LocalServicesError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))


def started(servers: Servers) -> Servers:
    """Start servers and return them; where they cannot be had, as `required`."""
    required(servers.start)
    return servers
