"""``streamresults demo``: worker, compactor and client as in production, on a broker and a Redis from wheels."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from streamresults.cli import demo_celery
from streamresults.cli.demo_lines import told
from streamresults.cli.demo_services import DemoServices
from streamresults.cli.facts import outcome_text, result_facts
from streamresults.cli.options import Invocation, common_options, pass_invocation
from streamresults.errors import RemoteTaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamresults.client import Client
    from streamresults.client.provenance import Decoding

#: Seconds for one wait or lookup, the start of the compactor included.
_PATIENCE: Final = 20.0
_CANNOT: Final = (
    "The embedded broker lives in memory: durability, replication, topic settings (init), ids of topics, offsets by\n"
    "time (replay --from @-1h) and transactions cannot be checked on it. A real one, without Docker:\n"
    "  deploy/local/README.md, then: streamresults init, and streamresults doctor"
)
#: What else there is to try while the demonstration stays.
_FURTHER: Final = (
    "streamresults wait order-7    # and in a third: streamresults publish order-7 --result '{\"paid\": true}'",
)


@click.command("demo")
@click.option("--keep", is_flag=True, help="Stay until Ctrl-C, and print what another terminal has to export.")
@click.option(
    "--port", type=click.IntRange(1, 65_535), metavar="PORT", help="Where Redis listens. [default: a free one]"
)
@click.option("--celery", is_flag=True, help="Show a Celery application, whose results go the same way.")
@common_options(hidden=True)
@pass_invocation
def command(invocation: Invocation, *, keep: bool, port: int | None, celery: bool) -> int:
    """
    Show it all within seconds, on librdkafka's embedded broker and a Valkey from a wheel.

    A worker and a compactor run in processes of their own, this one is the client. Everything it starts is stopped,
    and only temporary files are deleted.
    """
    invocation.start_logging("critical")
    if celery:
        demo_celery.require()
    with _terminated_like_interrupted(), DemoServices(port or 0) as services:
        _start(services)
        if celery:
            demo_celery.show(services)
        else:
            print(f"worker     pid {services.start_worker()}", flush=True)
            _show(services)
        print()
        print(_CANNOT)
        if keep:
            _keep(services, demo_celery.further(services) if celery else _FURTHER)
        else:
            again = "demo --celery --keep" if celery else "demo --keep"
            print(f"\nGo on: streamresults {again}, and use get, wait, tail, replay and lag in another terminal.")
    return 0


def _start(services: DemoServices) -> None:
    """Start everything; the compactor before the worker, as joining its group takes longest."""
    began = time.perf_counter()
    where = services.start_broker()
    print(f"kafka      embedded broker, 4 partitions   {where:<18} {time.perf_counter() - began:.2f} s", flush=True)
    began = time.perf_counter()
    where = services.start_redis()
    name = services.redis_name
    print(f"redis      {name:<31} {where:<18} {time.perf_counter() - began:.2f} s", flush=True)
    print(f"compactor  pid {services.start_compactor()}", flush=True)


def _show(services: DemoServices) -> None:
    from streamresults.wiring import Wiring

    mark = secrets.token_hex(2)
    with Wiring(services.settings) as wiring, wiring.client() as client:
        decoding = wiring.decoding()
        services.wait_for_worker()
        print(flush=True)
        scenes = _Scenes(services, client, decoding)
        scenes.joined(f"add-{mark}", "add", 2, 2)
        scenes.joined(f"charge-{mark}", "charge", "card_9")
        scenes.joined(f"ship-{mark}", "ship", "order-7")
        scenes.looked_up(f"resize-{mark}", "resize", "cat.jpg")
        scenes.unknown(f"nobody-{mark}")


class _Scenes:
    """What the demonstration shows, one line for each."""

    def __init__(self, services: DemoServices, client: Client, decoding: Decoding) -> None:
        self._services = services
        self._client = client
        self._decoding = decoding

    def joined(self, task_id: str, name: str, *args: object) -> None:
        """Call and wait on the topic itself: no Redis is needed for it."""
        began = time.perf_counter()
        self._services.call(task_id, name, *args)
        result = self._client.wait(task_id, _PATIENCE, via="topic")
        took = (time.perf_counter() - began) * 1000
        call = f"{name}({', '.join(repr(arg) for arg in args)})"
        if result.successful:
            told("ok", call, repr(result.result), f"joined from the topic in {took:.0f} ms", task_id)
            return
        error = result.exception
        text = outcome_text(result_facts(result, self._decoding, "results"))
        if isinstance(error, RemoteTaskError):
            note = "a RemoteTaskError with its name: no allowlist names the class, so it is not rebuilt"
        else:
            note = f"revived: except {type(error).__name__} catches it, as the allowlist names the class"
        told("failed", call, text, note, task_id)

    def looked_up(self, task_id: str, name: str, *args: object) -> None:
        """Call, let the compactor fold it, and look it up in Redis."""
        self._services.call(task_id, name, *args)
        self._client.wait(task_id, _PATIENCE, via="topic")
        self._client.lookup(task_id, fresh=True, timeout=_PATIENCE)
        began = time.perf_counter()
        result = self._client.lookup(task_id)
        took = (time.perf_counter() - began) * 1000
        call = f"{name}({', '.join(repr(arg) for arg in args)})"
        told("ok", call, repr(result.result), f"looked up in Redis in {took:.1f} ms", task_id)

    def unknown(self, task_id: str) -> None:
        """Look up a task that never was."""
        result = self._client.lookup(task_id, fresh=True, timeout=_PATIENCE)
        note = "not PENDING: Redis has folded the whole log up to now, and no record of it is there"
        told("unknown", "a task that never was", result.state, note, task_id)


def _keep(services: DemoServices, further: Sequence[str]) -> None:
    print("\nIn another terminal:")
    for name, value in services.environment.items():
        print(f"  export {name}={value}")
    print("  streamresults tail --from earliest --exit")
    print("  streamresults replay --verify")
    for line in further:
        print(f"  {line}")
    print("\nCtrl-C stops everything and deletes nothing but temporary files.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demonstration as Ctrl-C does, so that nothing is left running."""

    def interrupted(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
