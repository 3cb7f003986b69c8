"""The commands that set things up and look after them, as processes: init and doctor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from streamresults.deadline import Deadline
from streamresults.topic.records import TopicSettings
from tests.acceptance.conftest import Cli, cli_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def bare(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Give commands on topics that do not exist yet."""
    with cli_on(kafka_bootstrap, redis_url, tmp_path, topics=False) as found:
        yield found


def test_init_creates_topics_that_doctor_finds_right(bare: Cli) -> None:
    """A dry run creates nothing, a second run changes nothing, and what differs is said."""
    missing = bare("doctor", "--json")
    dry = bare("init", "--partitions", "2", "--dry-run", "-o", "json")
    still_missing = bare("doctor", "--json")
    made = bare("init", "--partitions", "2", "-o", "json")
    again = bare("init", "--partitions", "5", "-o", "json")
    right = bare("doctor", "--json")

    assert (2, 2) == (missing.code, still_missing.code)
    assert "streamresults init" in {finding["mend"] for finding in json.loads(missing.out)}
    assert {"would be created"} == {row["did"] for row in json.loads(dry.out)}
    assert {"created"} == {row["did"] for row in json.loads(made.out)}
    assert {"exists, left as it is"} == {row["did"] for row in json.loads(again.out)}
    assert "partitions 2, wanted 5" in again.err
    verdicts = {finding["check"]: finding["verdict"] for finding in json.loads(right.out)}
    assert (0, "ok", "ok") == (right.code, verdicts["topics"], verdicts["redis"])
    assert "fail" not in verdicts.values()


def test_doctor_says_what_mends_a_topic(bare: Cli) -> None:
    """A setting that breaks a promise is named with the command that mends it, and the compactor refuses to run."""
    wrong = TopicSettings(partitions=1, config={"message.timestamp.type": "CreateTime"})
    bare.wiring.broker().create_topics({bare.wiring.settings.topic: wrong}, Deadline(30))
    examined = bare("doctor", "-o", "jsonl")
    refused = bare("compactor", "run", "--once")

    assert 2 == examined.code
    mends = [row["mend"] for row in examined.rows if row["check"] == "topic" and row["verdict"] == "fail"]
    assert any("--add-config message.timestamp.type=LogAppendTime" in mend for mend in mends)
    assert "message.timestamp.type CreateTime, wanted LogAppendTime" in refused.failed_in_one_line(2)


def test_doctor_finds_a_running_compactor(running: Cli) -> None:
    """Coverage, lag and clocks are looked at when there is a view."""
    examined = running("doctor", "-o", "jsonl")

    verdicts = {row["check"]: row["verdict"] for row in examined.rows}
    assert ("ok", "ok", "ok", "ok") == tuple(verdicts[key] for key in ("view", "coverage", "compactor", "clocks"))


def test_doctor_names_variables_that_are_no_settings(running: Cli) -> None:
    """Others may have set them, so everything else is looked at all the same."""
    environment = {**running.environment, "STREAMRESULTS_KAFKA_SASL_USERNAME": "me"}
    examined = Cli(environment, running.folder, running.wiring)("doctor", "-o", "jsonl")

    (finding,) = (row for row in examined.rows if row["check"] == "environment")
    assert (0, "warn") == (examined.code, finding["verdict"])
    assert "STREAMRESULTS_KAFKA_SASL_USERNAME is no setting" in finding["detail"]
    assert "two underscores" in finding["detail"]


def test_doctor_exits_with_5_when_a_service_is_away(running: Cli) -> None:
    """The other service is examined all the same."""
    no_kafka = running("doctor", "-b", NOWHERE, "-o", "jsonl")
    no_redis = running("doctor", "--redis", f"redis://{NOWHERE}", "-o", "jsonl")

    assert (5, 5) == (no_kafka.code, no_redis.code)
    assert {"kafka": "fail", "redis": "ok"}.items() <= {r["check"]: r["verdict"] for r in no_kafka.rows}.items()
    assert {"kafka": "ok", "redis": "fail"}.items() <= {r["check"]: r["verdict"] for r in no_redis.rows}.items()
