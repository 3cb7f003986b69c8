"""
One process of coverage-guided fuzzing, by atheris: ``python -m tests.fuzz.run COUNTS.json [options] [corpus]``.

The options are libFuzzer's. It is started by :mod:`tests.fuzz`; libFuzzer ends the process by
itself, so the counts are written as they grow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["streamresults"], enable_loader_override=False):
    from tests.fuzz.examine import begin, examine
    from tests.fuzz.mutate import SEEDS, mutate

#: Inputs between two writings of the counts.
_EVERY = 2048


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer has had its runs or its time."""
    counts_file = Path(arguments.pop(1))
    counts = {"inputs": 0, "passed_header": 0}

    def one(data: bytes) -> None:
        if not counts["inputs"]:
            begin()  # atheris imports the last of itself when it starts
        counts["inputs"] += 1
        if counts["inputs"] % _EVERY == 1:
            counts_file.write_text(json.dumps(counts))
        counts["passed_header"] += examine(data)

    def another(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(data, max_size, seed, atheris.Mutate)

    begin()
    for seed in SEEDS:
        examine(seed)
    atheris.Setup(arguments, one, custom_mutator=another)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
