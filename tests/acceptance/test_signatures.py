"""
The page about signatures, and what the command line says of them.

We test these aspects: the page's examples, commands and settings; doctor, on and off, with a worker that lacks the key;
the compactor's and the auditor's command on a topic with forged records; no secret anywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.signing import NAMES as ROWS
from streamresults.cli.program import COMMANDS
from streamresults.settings import Settings
from tests.acceptance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "signatures.md").read_text()
SECRET, OTHER = "b7e1" * 16, "c0de" * 16


def told(cli: Cli) -> dict[str, Any]:
    """Return what doctor says of signatures."""
    (finding,) = (row for row in cli("doctor", "-o", "jsonl").rows if row["check"] == "signatures")
    return finding


def keyed(cli: Cli, **settings: str) -> Cli:
    """Return commands with more settings."""
    added = {f"STREAMRESULTS_{name.upper()}": text for name, text in settings.items()}
    return replace(cli, environment={**cli.environment, **added})


@pytest.mark.kafka
@pytest.mark.redis
def test_the_examples_of_the_page_run(running: Cli) -> None:
    """All of them, in their order, as one program."""
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(examples)],
        env={**os.environ, **running.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert len(examples) > 1
    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)


def test_every_command_setting_and_layout_of_the_page_exists() -> None:
    """Settings in backticks and in its tables of TOML, the numbers that it states, and the rows that measure them."""
    (rows,) = re.findall(r'`make bench ROWS="(.+?)"`', PAGE)
    named = set(re.findall(r"\b(?:sign(?:ing|ature)_\w+|unsigned_before)\b", PAGE.replace(rows, "")))

    assert set(rows.split()) <= set(ROWS)
    assert set(re.findall(r"`streamresults ([a-z]+)", PAGE)) <= set(COMMANDS)
    assert named == {"signing_key_id", "signing_keys", "signing_retired", "signature_window", "unsigned_before"}
    assert named <= set(Settings.__struct_fields__)
    assert f"`signature_window` ({Settings().signature_window:g} s)" in PAGE


@pytest.mark.kafka
@pytest.mark.redis
def test_doctor_says_who_signs(cli: Cli) -> None:
    """Off; on, with everything as it should be; a worker without a key; keys that cannot hold."""
    keys = f"k1={SECRET},k2={OTHER}"
    signing = keyed(cli, signing_keys=keys, signing_key_id="k1")
    off = told(cli)
    assert 0 == signing("publish", "t1", "--result", "1").code
    on, unaware = told(signing), told(cli)
    assert 0 == cli("publish", "t2", "--result", "2").code
    noticed, checking = told(signing), told(keyed(cli, signing_keys=keys))
    wrong = told(keyed(cli, signing_keys="k1=short"))

    assert ("ok", "off: records are neither signed nor checked") == (off["verdict"], off["detail"])
    assert ("ok", True) == (
        on["verdict"],
        on["detail"].startswith("signs with k1; accepts k1, k2; all of the newest 1"),
    )
    assert "warn" == unaware["verdict"]
    assert "1 of the newest 1 records are signed, with k1" in unaware["detail"]
    assert ("warn", "set signing_keys and signing_key_id") == (unaware["verdict"], unaware["mend"])
    assert "of the newest 2 records 1 are refused: unsigned 1; those without a signature say" in noticed["detail"]
    assert "checks alone, and can publish nothing" in checking["detail"]
    assert ("fail", True) == (wrong["verdict"], "fewer than 32 bytes" in wrong["detail"])
    assert "short" not in wrong["detail"].replace("shorter", "")


@pytest.mark.kafka
@pytest.mark.redis
def test_compactor_replay_and_get_on_a_topic_with_forged_records(cli: Cli, tmp_path: Path) -> None:
    """The compactor says how many it refused, replay counts them, get shows what is true; no secret in any output."""
    file = tmp_path / "keys"
    file.write_text(f"k1={SECRET}\n")
    signing = keyed(cli, signing_keys_file=str(file), signing_key_id="k1")
    said = [
        signing("publish", "t1", "--result", "1"),
        cli("publish", "t1", "--result", "2"),
        cli("publish", "t2", "--result", "2"),
        signing("compactor", "run", "--once", "--log-level", "debug"),
        signing("replay"),
        signing("replay", "--verify"),
        signing("get", "t1"),
        signing("forget", "t1"),
        keyed(cli, signing_keys_file=str(file))("publish", "t3"),
        signing("doctor"),
    ]
    published, _, _, compacted, replayed, verified, got, forgotten, refused, _ = said

    assert [0] * 6 == [one.code for one in (published, compacted, replayed, verified, got, forgotten)], said
    assert "refused for their signature: {'unsigned': 2}" in compacted.err
    assert 2 == replayed.err.count("SignatureRefused: the record is not signed")
    assert "0 differ, 0 missing" in verified.err
    assert "2 refused for their signature" in verified.err
    assert "Set signing_key_id to one of: k1" in refused.failed_in_one_line(2)
    assert not [one for one in said if SECRET in one.out + one.err]
