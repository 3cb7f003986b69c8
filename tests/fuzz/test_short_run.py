"""A short run of the fuzzing in every test run. ``make fuzz`` is the long one."""

from __future__ import annotations

import importlib.util
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.examine import Finding, begin, examine
from tests.fuzz.mutate import SEEDS, mutate

if TYPE_CHECKING:
    from pathlib import Path

#: Inputs of the short run: some ten seconds.
INPUTS = 20_000


def some_bytes(data: bytes, max_size: int) -> bytes:
    """Change a byte, add one or take one away: what libFuzzer does, without its knowledge of what is covered."""
    chance = random.Random(len(data))
    at = chance.randrange(len(data) + 1)
    return (data[:at] + chance.randbytes(chance.randrange(3)) + data[at + chance.randrange(3) :])[:max_size]


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    """Seeded with the golden records, most inputs pass the header, and none brings about what no record may."""
    if importlib.util.find_spec("atheris") is None:
        if os.environ.get("CI"):
            pytest.fail("CI fuzzes with atheris: pip install '.[test]' brings it on Linux for x86-64")
        pytest.skip("atheris is not installed")
    fuzzed = fuzz(tmp_path, inputs=INPUTS, seed=1)

    assert "" == fuzzed.finding, fuzzed
    assert fuzzed.passed_header >= 0.3 * fuzzed.inputs > 0, fuzzed
    assert fuzzed.edges > 200, fuzzed


def test_mutations_alone_find_nothing() -> None:
    """The same without guidance, on every platform; always the same inputs."""
    chance = random.Random(7)
    begin()
    corpus = list(SEEDS)
    passed = 0
    for number in range(3000):
        corpus.append(mutate(chance.choice(corpus[-500:]), 4096, number, some_bytes))
        passed += examine(corpus[-1])

    assert passed >= 0.3 * 3000


def test_a_finding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must not be is told: here, that the shortcut of the fold reads another expiry than the prefix says."""
    monkeypatch.setattr("streamresults.events.codec.rank_and_expiry", lambda *_: (1, -5))
    begin()

    with pytest.raises(Finding, match="expiry"):
        examine(SEEDS[0])
