"""What a run of Celery's own tests is compared with: tests/celery_suite/expected.toml."""

from __future__ import annotations

import json

import pytest

from tests.celery_suite.judging import Difference, expected, judge

KNOWN = Difference("t/a.py::test_*", "a reason", celery=("5.7",))


def line(test: str, outcome: str, *, subtest: bool = False) -> str:
    return json.dumps({"test": test, "outcome": outcome, "seconds": 0.1, "subtest": subtest, "why": "a line"})


def test_what_passes_and_is_skipped_is_counted() -> None:
    verdict = judge([line("t/b.py::test_b", "passed"), line("t/b.py::test_c", "skipped")], [], "5.7.0", "redis")

    assert verdict.good
    assert dict(verdict.outcomes) == {"passed": 1, "skipped": 1}


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_failure_that_nobody_expects_is_told_with_its_line(outcome: str) -> None:
    verdict = judge([line("t/b.py::test_b", outcome)], [KNOWN], "5.7.0", "streamresults")

    assert not verdict.good
    assert verdict.unexpected == {"t/b.py::test_b": "a line"}


def test_a_failure_that_is_expected_is_told_with_its_reason() -> None:
    verdict = judge([line("t/a.py::test_a[1]", "failed")], [KNOWN], "5.7.0", "streamresults")

    assert verdict.good
    assert verdict.explained == {"t/a.py::test_a[1]": "a reason"}


@pytest.mark.parametrize(("version", "backend"), [("5.6.3", "streamresults"), ("5.7.0", "redis")])
def test_what_is_expected_elsewhere_is_not_expected_here(version: str, backend: str) -> None:
    assert not judge([line("t/a.py::test_a", "failed")], [KNOWN], version, backend).good


def test_a_difference_that_does_not_show_any_more_is_told() -> None:
    verdict = judge([line("t/a.py::test_a", "passed")], [KNOWN], "5.7.0", "streamresults")

    assert verdict.gone == (KNOWN,)
    assert not verdict.good


def test_a_difference_whose_test_was_not_run_is_not_missed() -> None:
    assert judge([line("t/b.py::test_b", "passed")], [KNOWN], "5.7.0", "streamresults").good


def test_a_test_that_passed_when_it_was_run_again_has_passed() -> None:
    lines = [line("t/b.py::test_b", "rerun"), line("t/b.py::test_b", "passed")]

    assert dict(judge(lines, [], "5.7.0", "redis").outcomes) == {"passed": 1}


def test_a_test_with_a_subtest_that_failed_has_failed() -> None:
    lines = [line("t/b.py::test_b", "failed", subtest=True), line("t/b.py::test_b", "passed")]

    assert dict(judge(lines, [], "5.7.0", "redis").outcomes) == {"failed": 1}


def test_a_test_of_which_nothing_was_heard_has_failed() -> None:
    verdict = judge([line("t/b.py::test_b", "passed")], [], "5.7.0", "redis", ["t/b.py::test_b", "t/b.py::test_c"])

    assert verdict.unexpected == {"t/b.py::test_c": "it has not come to an end"}


def test_every_difference_that_is_known_says_why() -> None:
    found = expected()

    assert found
    assert all(difference.why and difference.test.startswith("t/") for difference in found)
