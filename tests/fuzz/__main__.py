"""
``make fuzz``: coverage-guided fuzzing of decoder and reviver, by atheris, and what it amounted to.

    python -m tests.fuzz [--seconds 600] [--inputs 0] [--folder .fuzz]

What is found is in the folder: the inputs that cover something new in ``corpus``, an input that must not be as
``crash-...``. The exit code is 1 when there is one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.mutate import SEEDS

#: Bytes of an input. Longer ones take longer, and say nothing that shorter ones do not: limits are tested by hand.
_LONGEST = 4096
#: What one input may take, by far.
_MEGABYTES = 1024
_SECONDS_EACH = 10
_ROOT = Path(__file__).resolve().parents[2]


class Fuzzed(NamedTuple):
    """What a run amounted to."""

    inputs: int
    passed_header: int
    #: Edges of streamresults' own code that some input went along.
    edges: int
    seconds: float
    finding: str

    def __str__(self) -> str:
        share = 100 * self.passed_header / max(1, self.inputs)
        return (
            f"{self.inputs} inputs in {self.seconds:.0f} s, {share:.1f} % passed the header, "
            f"{self.edges} edges covered, {'a finding:' if self.finding else 'no finding'} {self.finding}".strip()
        )


def fuzz(folder: Path, *, seconds: int = 0, inputs: int = 0, seed: int = 0) -> Fuzzed:
    """
    Fuzz for a time or a number of inputs, whichever ends first; 0 is no bound, for the seed one drawn by libFuzzer.

    Raises:
        RuntimeError: The fuzzer did not come to run; the message has its last lines.
    """
    corpus, counts = folder / "corpus", folder / "counts.json"
    corpus.mkdir(parents=True, exist_ok=True)
    counts.unlink(missing_ok=True)
    for number, record in enumerate(SEEDS):
        (corpus / f"golden-{number}").write_bytes(record)
    options = {
        "max_total_time": seconds,
        "runs": inputs or -1,
        "seed": seed,
        "max_len": _LONGEST,
        "rss_limit_mb": _MEGABYTES,
        "timeout": _SECONDS_EACH,
    }
    command = [sys.executable, "-m", "tests.fuzz.run", str(counts), *(f"-{name}={of}" for name, of in options.items())]
    began = time.monotonic()
    ran = subprocess.run(
        [*command, f"-artifact_prefix={folder}/", str(corpus)], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    edges = re.findall(r"cov: (\d+)", ran.stderr)
    if not counts.exists() or not edges:
        msg = "the fuzzer did not run: " + " | ".join(ran.stderr.strip().splitlines()[-5:])
        raise RuntimeError(msg)
    counted = json.loads(counts.read_text())
    found = re.search(r"Test unit written to (\S+)", ran.stderr)
    return Fuzzed(**counted, edges=int(edges[-1]), seconds=time.monotonic() - began, finding=found[1] if found else "")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="0: until --inputs are done")
    parser.add_argument("--inputs", type=int, default=0, help="0: until the time is over")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    asked = parser.parse_args()
    fuzzed = fuzz(asked.folder.resolve(), seconds=asked.seconds, inputs=asked.inputs)
    print(fuzzed)  # noqa: T201 -- what the command is for
    return 1 if fuzzed.finding else 0


if __name__ == "__main__":
    sys.exit(main())
