"""What became of each test, and whether that is what is expected."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXPECTED: Final = Path(__file__).with_name("expected.toml")
_FAILED: Final = ("failed", "error")


@dataclass(frozen=True)
class Difference:
    """Tests that fail for a known reason."""

    #: Their names, without parameters; ``*`` stands for anything.
    test: str
    why: str
    #: The versions of Celery that have it, such as ``5.7``; none: all.
    celery: tuple[str, ...] = ()
    #: Where they fail: ``streamresults``, ``redis``; both have them as the machine lets them.
    backends: tuple[str, ...] = ("streamresults",)
    #: Whether they pass now and then.
    sometimes: bool = False

    def holds(self, version: str, backend: str) -> bool:
        """Tell whether it is to be expected of a run."""
        here = not self.celery or version.startswith(tuple(f"{of}." for of in self.celery))
        return here and backend in self.backends


@dataclass(frozen=True)
class Verdict:
    """A run, compared with what is expected of it."""

    outcomes: Counter[str]
    #: Test and line, for failures that nobody expects.
    unexpected: dict[str, str]
    #: Test and reason, for those that are expected.
    explained: dict[str, str]
    #: Differences that did not show.
    gone: tuple[Difference, ...]

    @property
    def good(self) -> bool:
        """Whether everything is as it is expected."""
        return not self.unexpected and not self.gone


def expected() -> tuple[Difference, ...]:
    """Return the differences of expected.toml."""
    return tuple(_difference(**entry) for entry in tomllib.loads(_EXPECTED.read_text())["difference"])


def _difference(
    test: str,
    why: str,
    celery: Iterable[str] = (),
    backends: Iterable[str] = ("streamresults",),
    *,
    sometimes: bool = False,
) -> Difference:
    return Difference(test, " ".join(why.split()), tuple(celery), tuple(backends), sometimes)


def judge(
    lines: Iterable[str],
    differences: Iterable[Difference],
    version: str,
    backend: str,
    collected: Iterable[str] = (),
) -> Verdict:
    """Compare what ``reporting`` wrote with what is expected; each of ``collected`` has to have come to an end."""
    outcomes, why = _outcomes(lines)
    for test in collected:
        if test not in outcomes:
            outcomes[test], why[test] = "error", "it has not come to an end"
    known = [difference for difference in differences if difference.holds(version, backend)]
    failed = [test for test, outcome in outcomes.items() if outcome in _FAILED]
    reasons = {test: _reason(test, known) for test in failed}
    return Verdict(
        outcomes=Counter(outcomes.values()),
        unexpected={test: why[test] for test, reason in reasons.items() if not reason},
        explained={test: reason for test, reason in reasons.items() if reason},
        gone=tuple(
            difference
            for difference in known
            if not difference.sometimes
            and any(_of(test, difference) for test in outcomes)
            and not any(_of(test, difference) for test in failed)
        ),
    )


def _of(test: str, difference: Difference) -> bool:
    return fnmatchcase(test.split("[", maxsplit=1)[0], difference.test)


def _reason(test: str, known: Iterable[Difference]) -> str:
    return next((difference.why for difference in known if _of(test, difference)), "")


def _outcomes(lines: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what became of each test at last, and why; one of whose subtests failed has failed."""
    outcomes: dict[str, str] = {}
    why: dict[str, str] = {}
    failing: set[str] = set()
    for line in lines:
        entry = json.loads(line)
        test, outcome = entry["test"], entry["outcome"]
        if outcome == "rerun":
            failing.discard(test)
            continue
        if outcome in _FAILED:
            failing.add(test)
            why[test] = entry["why"]
        if not entry["subtest"]:
            outcomes[test] = "failed" if test in failing and outcome == "passed" else outcome
    return outcomes, why
