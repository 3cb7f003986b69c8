"""
Coroutines on real Kafka and real Redis, with a compactor beside them.

We test these aspects: publishing, waiting by every way, looking up; and that the examples of docs/asyncio.md run.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamresults.aio import AsyncClient, AsyncPublisher
from tests.acceptance.conftest import cli_on, logged
from tests.acceptance.test_readme import run_python
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamresults.wiring import Wiring
    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

SOON = 30.0
DOCS = (Path(__file__).resolve().parents[2] / "docs" / "asyncio.md").read_text()
SAID = ["{'paid': True}\n", "4950\n", "part-2 2\npart-1 1\n", "STARTED\nSUCCESS\n"]


@pytest.fixture
def folded(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Give commands on topics of their own, with a compactor running."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path) as cli, cli.started("compactor", "run") as compactor:
        logged(compactor, "partitions assigned")
        yield cli
        compactor.terminate()
        compactor.wait(SOON)


def test_the_examples_of_the_documentation_run(folded: Cli) -> None:
    """Each as a program of its own, with what it prints."""
    for code, said in zip(re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL), SAID, strict=True):
        ran = run_python(folded, code)
        assert (0, said, "") == (ran.returncode, ran.stdout, ran.stderr)


def test_what_coroutines_publish_is_awaited(real_wiring: Wiring) -> None:
    """Through the topic, by two loops one after the other; the reader stands before anything is published."""

    async def scenario(face: AsyncClient, publisher: AsyncPublisher, first: int) -> list[Any]:
        await publisher.warm()
        names = [f"t{number}" for number in range(first, first + 200)]
        waiting = [asyncio.create_task(face.get(name, SOON, via="topic")) for name in names]
        await asyncio.to_thread(_read_by, face, len(names))
        positions = await asyncio.gather(*(publisher.succeeded(name, name) for name in names))
        assert len({(position.partition, position.offset) for position in positions if position}) == len(names)
        return await asyncio.gather(*waiting)

    with real_wiring.client() as client, real_wiring.publisher() as publisher:
        face, sender = AsyncClient(client), AsyncPublisher(publisher)
        for first in (0, 1000):
            assert [f"t{n}" for n in range(first, first + 200)] == asyncio.run(scenario(face, sender, first))


def _read_by(face: AsyncClient, count: int) -> None:
    def matched() -> bool:
        engine = face._client._engine
        if engine is None:
            return False
        with engine.waits.lock:
            return count == sum(waiter.next_offset >= 0 for waiter in engine.waits.everybody())

    eventually(matched, SOON)
