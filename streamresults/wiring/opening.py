"""A flow with the configuration of this process, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamresults.settings import load
from streamresults.wiring.flows import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.aio import AsyncClient, AsyncPublisher
    from streamresults.client import Client
    from streamresults.events.event import Event
    from streamresults.publisher import Publisher


def open_publisher(
    *,
    worker: str = "",
    redact: Callable[[Event], Event] | None = None,
    exception_safe_to_retry: Callable[[BaseException], bool] | None = None,
    **settings: Any,
) -> Publisher:
    """
    Open a publisher with the configuration of this process, and what is stated here over it.

    Args:
        worker: Who publishes; process id and host when not stated.
        redact: Sees every event before it is encoded and returns what is published in its place.
        exception_safe_to_retry: Decides of an error whether the event is published again.
        settings: Fields of :class:`streamresults.Settings`.

    Example::

        with streamresults.open_publisher(kafka_bootstrap="localhost:9092") as publisher:
            publisher.succeeded("order-7", {"paid": True})

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    return Wiring(load(settings)).publisher(
        worker=worker, redact=redact, exception_safe_to_retry=exception_safe_to_retry
    )


def open_client(**settings: Any) -> Client:
    """
    Open a client with the configuration of this process, and what is stated here over it.

    Example::

        with streamresults.open_client(kafka_bootstrap="localhost:9092", redis_url="redis://localhost") as client:
            print(client.get("order-7", timeout=10))

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    return Wiring(load(settings)).client()


def open_async_publisher(
    *,
    worker: str = "",
    redact: Callable[[Event], Event] | None = None,
    exception_safe_to_retry: Callable[[BaseException], bool] | None = None,
    **settings: Any,
) -> AsyncPublisher:
    """
    Open a publisher for event loops; see :func:`open_publisher`. It connects with its first event, so this blocks not.

    Example::

        async with streamresults.open_async_publisher(kafka_bootstrap="localhost:9092") as publisher:
            await publisher.succeeded("order-7", {"paid": True})

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    from streamresults.aio import AsyncPublisher

    return AsyncPublisher(
        open_publisher(worker=worker, redact=redact, exception_safe_to_retry=exception_safe_to_retry, **settings)
    )


def open_async_client(**settings: Any) -> AsyncClient:
    """
    Open a client for event loops; see :func:`open_client`. It connects when it is first used, so this blocks not.

    Example::

        async with streamresults.open_async_client(redis_url="redis://localhost") as client:
            print(await client.get("order-7", timeout=10))

    Raises:
        ConfigurationError: See :func:`streamresults.settings.load`.
    """
    from streamresults.aio import AsyncClient

    return AsyncClient(open_client(**settings))
