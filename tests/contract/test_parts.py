"""
What whoever counts parts may expect, of Redis, alone or behind Sentinel, of a Redis Cluster and of the store in memory.

We test these aspects: a part counts once; one call alone is told that a set is complete; a claim keeps others out for
its lease and is taken over behind it; nothing comes behind a claim; sets end when they should, and a lost one can be
begun again; one that another primary holds is suspected.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from streamresults.errors import StoreUnavailable
from streamresults.store.memory import MemoryStore
from streamresults.store.parts import Claim, Status
from streamresults.store.redis import RedisStore
from tests.contract.store_desk import remove
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_server import RedisServer

    from streamresults.store.parts import Counted, Parts

#: Milliseconds of a lease that nobody waits for, and of one that a test waits for.
LONG: Final = 60_000
SHORT: Final = 50
KEEP: Final = 60_000


@pytest.fixture(
    params=["memory", *(pytest.param(kind, marks=pytest.mark.redis) for kind in ("redis", "sentinel", "cluster"))]
)
def parts(request: pytest.FixtureRequest, namespace: str) -> Iterator[Parts]:
    """Give every implementation, one after the other, with names of the test's own."""
    if request.param == "memory":
        yield MemoryStore().parts(namespace, "t")
        return
    store: RedisStore = request.getfixturevalue(f"{request.param}_store")
    yield store.parts(namespace, "t")
    remove(store, namespace)


def put(
    parts: Parts,
    part: str,
    data: bytes = b"",
    *,
    final: bool = True,
    token: str = "",
    lease: int = LONG,
    keep: int = KEEP,
    to: str = "s",
) -> Counted:
    return parts.put(to, part, data or part.encode(), Claim(token or part, lease), final=final, keep_ms=keep)


def begin(parts: Parts, size: int | None = 2, *, anew: bool = True, keep: int = KEEP) -> bool:
    return parts.begin("s", b"about", size, keep_ms=keep, anew=anew)


def test_the_part_that_completes_a_set_gets_the_claim(parts: Parts) -> None:
    begin(parts)

    assert put(parts, "1")[:3] == (Status.WAITING, 1, 2)
    assert put(parts, "2")[:3] == (Status.CLAIMED, 2, 2)


def test_a_part_counts_once_however_often_it_comes(parts: Parts) -> None:
    begin(parts)

    assert [put(parts, "1").come for _ in range(3)] == [1, 1, 1]


def test_parts_are_kept_byte_for_byte_with_what_the_set_was_begun_with(parts: Parts) -> None:
    begin(parts, 3)
    every = bytes(range(256))
    put(parts, "0:a", every)
    put(parts, "1:ü", b"\r\n")

    found = parts.read("s")

    assert found is not None
    assert dict(found.parts) == {"0:a": every, "1:ü": b"\r\n"}
    assert (found.about, found.size, found.expected, found.settled, found.token) == (b"about", 3, 3, False, "")


def test_of_parts_that_are_not_final_the_first_stays_and_a_final_one_replaces_it(parts: Parts) -> None:
    begin(parts)
    for data, final in ((b"failed", False), (b"failed again", False)):
        put(parts, "1", data, final=final)
    before = parts.read("s")
    put(parts, "1", b"done", final=True)
    put(parts, "1", b"done again", final=True)
    put(parts, "1", b"failed late", final=False)

    after = parts.read("s")

    assert before is not None and after is not None  # noqa: PT018 -- narrows both
    assert (before.parts["1"], after.parts["1"]) == (b"failed", b"done")
    assert len(after.parts) == 1


def test_one_of_many_callers_gets_the_claim(parts: Parts) -> None:
    begin(parts, 40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: put(parts, str(number % 40), token=f"{number}").status, range(200)))

    assert found.count(Status.CLAIMED) == 1


def test_others_are_kept_out_while_a_claim_is_held(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1", token="first")

    again = put(parts, "1", token="second")
    claimed = parts.claim("s", Claim("third", LONG))

    assert again.status is claimed.status is Status.HELD
    assert 0 < again.held_ms <= LONG
    assert parts.settle("s", "second", keep_ms=KEEP) is False
    assert parts.prolong("s", Claim("second", LONG)) is False


def test_a_claim_whose_lease_has_passed_is_taken_over_by_one_and_its_first_holder_is_told(parts: Parts) -> None:
    begin(parts, 1)
    assert put(parts, "1", token="first", lease=SHORT).taken_over is False
    found: list[Counted] = []

    def taken() -> bool:
        found.append(parts.claim("s", Claim("second", LONG)))
        return found[-1].status is Status.CLAIMED

    eventually(taken)
    assert found[-1].taken_over
    assert parts.claim("s", Claim("second", LONG)).taken_over, "told again, as the first answer may have been lost"
    assert parts.prolong("s", Claim("first", LONG)) is False
    assert parts.settle("s", "first", keep_ms=KEEP) is False
    assert parts.settle("s", "second", keep_ms=KEEP) is True


def test_a_claim_that_is_prolonged_is_held_on(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1", token="first", lease=SHORT)

    assert parts.prolong("s", Claim("first", LONG))
    found = put(parts, "1", token="second")

    assert found.status is Status.HELD
    assert found.held_ms > SHORT


def test_a_holder_that_comes_again_still_has_its_claim(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1", token="first")

    found = parts.claim("s", Claim("first", LONG))

    assert (found.status, found.taken_over) == (Status.CLAIMED, False)


def test_nothing_comes_behind_a_claim_so_that_whoever_takes_it_over_finds_the_same(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1", b"failed", final=False, token="first")

    put(parts, "1", b"done", final=True, token="second")
    put(parts, "2", b"more", token="second")

    assert parts.add("s", "late", keep_ms=KEEP) is False
    found = parts.read("s")
    assert found is not None
    assert (dict(found.parts), found.added) == ({"1": b"failed"}, ())


def test_a_settled_set_stays_settled_and_holds_no_parts(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1", token="first")
    parts.settle("s", "first", keep_ms=KEEP)

    assert put(parts, "1", token="second").status is Status.SETTLED
    assert parts.claim("s", Claim("second", LONG)).status is Status.SETTLED
    assert parts.settle("s", "second", keep_ms=KEEP) is True
    assert parts.prolong("s", Claim("first", LONG)) is False
    found = parts.read("s")
    assert found is not None
    assert (found.settled, dict(found.parts)) == (True, {})


def test_a_settled_set_is_begun_again_only_on_purpose(parts: Parts) -> None:
    assert begin(parts, 1) is False
    put(parts, "1", token="first")
    parts.settle("s", "first", keep_ms=KEEP)

    assert begin(parts, 1, anew=False) is True
    assert put(parts, "1").status is Status.SETTLED
    assert begin(parts, 1, anew=True) is True
    assert put(parts, "1").status is Status.CLAIMED


def test_beginning_again_what_is_under_way_loses_nothing(parts: Parts) -> None:
    begin(parts)
    put(parts, "1")

    assert begin(parts) is False
    assert put(parts, "2").status is Status.CLAIMED


def test_a_set_whose_size_is_said_later_waits_for_it(parts: Parts) -> None:
    begin(parts, None)
    assert put(parts, "1")[:3] == (Status.WAITING, 1, None)
    put(parts, "2")

    parts.resize("s", 3)

    assert put(parts, "2")[:3] == (Status.WAITING, 2, 3)
    assert put(parts, "3").status is Status.CLAIMED


def test_a_size_that_is_reached_already_is_found_by_whoever_asks(parts: Parts) -> None:
    begin(parts, None)
    put(parts, "1")
    parts.resize("s", 1)

    assert parts.claim("s", Claim("me", LONG)).status is Status.CLAIMED


def test_a_size_that_is_known_stays_until_the_set_is_begun_with_another_one(parts: Parts) -> None:
    begin(parts, 2)
    parts.resize("s", 1)
    assert put(parts, "1").expected == 2

    begin(parts, 3)

    assert put(parts, "1").expected == 3


def test_a_size_begins_no_set(parts: Parts) -> None:
    parts.resize("s", 1)

    assert parts.read("s") is None


def test_members_that_are_added_are_expected_too_each_once(parts: Parts) -> None:
    begin(parts, 1)

    assert [parts.add("s", member, keep_ms=KEEP) for member in ("b", "a", "b")] == [True, True, True]
    assert put(parts, "1")[:3] == (Status.WAITING, 1, 3)
    put(parts, "2")
    assert put(parts, "3").status is Status.CLAIMED
    found = parts.read("s")
    assert found is not None
    assert (found.added, found.expected) == (("b", "a"), 3)


def test_parts_that_came_before_their_set_was_begun_count(parts: Parts) -> None:
    assert put(parts, "1")[:3] == (Status.UNKNOWN, 1, None)

    begin(parts, 2, anew=False)

    assert put(parts, "2").status is Status.CLAIMED


def test_a_claim_outlives_the_loss_of_its_set_and_the_set_can_be_begun_again(parts: Parts) -> None:
    assert parts.prolong("s", Claim("first", LONG)) is True  # what it had claimed was flushed meanwhile

    begin(parts, 1, anew=False)

    assert put(parts, "1", token="second").status is Status.HELD
    assert parts.settle("s", "first", keep_ms=KEEP) is True


@pytest.mark.parametrize("by", ["begin", "put", "settle", "prolong", "name"])
def test_what_is_kept_for_a_time_is_gone_behind_it(parts: Parts, by: str) -> None:
    if by == "begin":
        begin(parts, keep=SHORT)
    elif by == "put":
        put(parts, "1", keep=SHORT)
    elif by == "settle":
        begin(parts, 1)
        put(parts, "1", token="first")
        parts.settle("s", "first", keep_ms=SHORT)
    elif by == "prolong":
        parts.prolong("s", Claim("first", SHORT))
    else:
        parts.name("other", "s", keep_ms=SHORT)

    eventually(lambda: parts.read("s") is None and parts.find("other") is None)


def test_a_set_is_kept_from_its_last_part_on_and_for_ever_without_a_time(parts: Parts) -> None:
    begin(parts, 3, keep=SHORT)
    put(parts, "1", keep=KEEP)
    put(parts, "2", keep=0, to="for ever")
    parts.name("short", "s", keep_ms=SHORT)

    eventually(lambda: parts.find("short") is None)

    assert parts.read("s") is not None
    assert parts.read("for ever") is not None


def test_a_second_name_leads_to_its_set(parts: Parts) -> None:
    parts.name("body", "s", keep_ms=KEEP)

    assert parts.find("body") == "s"
    assert parts.find("nobody") is None


def test_sets_that_are_watched_are_given_when_they_are_due_the_oldest_first_and_again_later(parts: Parts) -> None:
    for name, delay in (("later", LONG), ("second", -10), ("first", -20), ("gone", -30)):
        parts.watch(name, delay)
    parts.unwatch("gone")

    assert parts.due(1, LONG) == ["first"]
    assert parts.due(9, LONG) == ["second"]
    assert parts.due(9, LONG) == []


def test_a_set_that_is_given_is_given_again(parts: Parts) -> None:
    parts.watch("one", 0)
    assert parts.due(9, SHORT) == ["one"]

    eventually(lambda: parts.due(9, LONG) == ["one"])


@pytest.mark.parametrize("name", ["a}b", "{", "{}", "ü", "a:b c", "x" * 500])
def test_a_set_may_have_any_name(parts: Parts, name: str) -> None:
    parts.begin(name, b"", 1, keep_ms=KEEP, anew=True)

    assert put(parts, "1", to=name).status is Status.CLAIMED
    assert parts.settle(name, "1", keep_ms=KEEP)


def test_sets_of_other_topics_and_namespaces_are_others(redis_store: RedisStore, namespace: str) -> None:
    for store in (MemoryStore(), redis_store):
        one, *others = (
            store.parts(name, topic) for name, topic in ((namespace, "t"), (namespace, "u"), (f"{namespace}2", "t"))
        )
        begin(one)

        assert [other.read("s") for other in others] == [None, None]
    remove(redis_store, namespace)


def test_a_store_that_is_away_says_so() -> None:
    store = MemoryStore()
    parts = store.parts("n", "t")
    store.outage(down=True)

    with pytest.raises(StoreUnavailable):
        put(parts, "1")


def test_a_flush_loses_sets_too() -> None:
    store = MemoryStore()
    parts = store.parts("n", "t")
    begin(parts)
    store.flush()

    assert parts.read("s") is None


# -- a primary that is another one ------------------------------------------------------------------------------------


def test_a_set_is_not_suspected_on_the_primary_it_was_begun_on(parts: Parts) -> None:
    begin(parts, None)
    put(parts, "1")
    begin(parts, 3, anew=False)

    assert parts.suspect("s") == ""
    assert parts.suspect("nobody's") == ""
    parts.trust("nobody's", "p")
    assert parts.read("nobody's") is None


def test_a_set_that_another_primary_holds_is_suspected_until_that_one_is_trusted(parts: Parts) -> None:
    begin(parts)
    parts.trust("s", "one that is gone")
    primary = parts.suspect("s")
    assert primary
    begin(parts, 2, anew=False)
    assert parts.suspect("s") == primary

    parts.trust("s", primary)

    assert parts.suspect("s") == ""


def test_a_set_that_was_begun_anew_or_is_settled_is_never_suspected(parts: Parts) -> None:
    begin(parts, 1)
    put(parts, "1")
    parts.settle("s", "1", keep_ms=KEEP)
    parts.trust("s", "one that is gone")
    assert parts.suspect("s") == ""

    begin(parts, None, anew=True)
    begin(parts, 2, anew=False)
    parts.trust("s", "one that is gone")

    assert parts.suspect("s") == ""


@pytest.mark.redis
def test_a_server_that_was_started_again_is_another_primary(
    server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    store = RedisStore(server.url)
    parts = store.parts(namespace, "t")
    begin(parts)
    server.restart_with(server.save(tmp_path / "dump"))

    assert parts.suspect("s")
    store.close()


def test_the_store_in_memory_loses_parts_as_a_failover_does() -> None:
    parts = MemoryStore().parts("n", "t")
    begin(parts, 3)
    put(parts, "1")
    put(parts, "2")

    parts.fail_over("s", ["2"])

    assert put(parts, "3")[:3] == (Status.WAITING, 2, 3)
    assert parts.suspect("s")
