"""
The release kept in tests/previous reads what these sources sign; what it writes itself is refused where that counts.

We test these aspects: every kind of record, compacted, looked up, waited for and replayed by the previous release; the
way there, with workers of both releases on one topic; and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.upgrade.test_two_releases import OUTCOMES

if TYPE_CHECKING:
    from tests.upgrade.conftest import Release

KEYS = {"signing_keys": "k1=" + "b7e1" * 16, "signing_key_id": "k1"}

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]


@pytest.mark.parametrize("compactor", ["previous", "current"])
def test_the_previous_release_reads_signed_records(releases: dict[str, Release], compactor: str) -> None:
    """A signature is a header that it does not look at; the view and the log agree for both."""
    previous, current = releases["previous"], releases["current"].configured(**KEYS)
    published = current.worker("every", "t")
    assert published.code == 0, published
    (previous if compactor == "previous" else current).compact()

    looked = previous.worker("lookup", *(f"t-{name}" for name in OUTCOMES)).rows
    waited = previous.cli("wait", "t-plain", "t-failed", "--via", "topic", "-o", "jsonl")
    replayed = previous.cli("replay", "-q", "-o", "jsonl").rows

    assert [{"task_id": f"t-{n}", "state": s, "outcome": o} for n, (s, o) in OUTCOMES.items()] == looked
    assert {"t-plain": "SUCCESS", "t-failed": "FAILURE"} == {row["task_id"]: row["state"] for row in waited.rows}
    assert [] == [row for row in replayed if "unreadable" in row]
    previous.verify()
    current.verify()


def test_what_the_previous_release_writes_is_refused_where_signatures_are_demanded(
    releases: dict[str, Release],
) -> None:
    """It cannot sign: its records count with who has no keys, and with nobody else; upgrade workers first."""
    previous, current = releases["previous"], releases["current"].configured(**KEYS)
    assert previous.worker("every", "old").code == 0
    assert current.worker("every", "new").code == 0
    current.compact()
    looked = {row["task_id"]: row["state"] for row in current.worker("lookup", "old-plain", "new-plain").rows}
    replayed = current.cli("replay", "-q", "-o", "jsonl").rows

    assert {"old-plain": "UNKNOWN", "new-plain": "SUCCESS"} == looked
    assert {"SignatureRefused: the record is not signed"} == {
        row["unreadable"] for row in replayed if "unreadable" in row
    }
    current.verify()
