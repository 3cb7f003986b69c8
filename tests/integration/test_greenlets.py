"""A process whose threads are greenlets: no call into librdkafka holds the others up."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.compacting import compacting

if TYPE_CHECKING:
    from streamresults.wiring import Wiring

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
PROGRAM = """
import threading
import streamresults

publisher, client = streamresults.open_publisher(), streamresults.open_client()
publisher.warm(20)
found, told = [], threading.Event()
waits = [threading.Thread(target=lambda: found.append(client.get("answer", 30))) for _ in range(50)]
for wait in waits:
    wait.start()
client.on_result("answer", lambda _: told.set())
try:
    client.get("never", 0.1)
except streamresults.WaitTimeout:
    publisher.succeeded("answer", 42)
for wait in waits:
    wait.join()
assert told.wait(30)
assert found == [42] * 50
print(client.lookup("answer", fresh=True, timeout=30).state, len(publisher.publish_many(
    [publisher.event(f"many-{number}", "SUCCESS", result=number) for number in range(500)]
)))
client.close()
publisher.close(30)
"""


@pytest.mark.parametrize("hub", PATCHES)
def test_waits_and_publishing_go_on_beside_each_other(real_wiring: Wiring, hub: str) -> None:
    settings = real_wiring.settings
    assert settings.redis_url is not None
    own = {
        "STREAMRESULTS_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "STREAMRESULTS_REDIS_URL": settings.redis_url,
        "STREAMRESULTS_TOPIC": settings.topic,
        "STREAMRESULTS_NAMESPACE": settings.namespace,
    }
    with compacting(real_wiring):
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"{PATCHES[hub]}\n{PROGRAM}"],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    assert ("SUCCESS 500\n", "") == (ran.stdout, ran.stderr)
