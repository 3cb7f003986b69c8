"""What the code says about the documentation is there: whoever follows a reference finds what it promises."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = set(re.findall(r"^## (.+)$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE))
FILES = [
    file for folder in ("streamresults", "tests", "benchmarks", "deploy") for file in (ROOT / folder).rglob("*.py")
]


def test_sections_that_are_referred_to_exist() -> None:
    """By their names: numbers would be those of another document."""
    named = {
        " ".join(section.split())
        for file in FILES
        for section in re.findall(r'"([^"\n]+)"\s+in\s+docs/architecture\.md', file.read_text())
    }

    assert {"The fold", "The view", "Waiting"} <= named
    assert set() == named - SECTIONS


def test_nothing_refers_to_numbers_or_letters_of_a_design() -> None:
    """There is none that a reader could open."""
    stray = re.compile(r"architecture \d|\bin the " + r"design\b|section \d\.\d \(design")

    assert [] == [file.name for file in FILES if stray.search(file.read_text())]
