"""Apache Kafka without Docker: one broker, or three that elect leaders and can be killed one by one."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import programs
from kafka_protocol import cluster_members, serves_groups
from kafka_settings import Profile, broker_settings, cluster_settings, java_options
from ports import HOST, free_ports
from processes import LocalServicesError, wait_until
from server_group import ServerGroup
from server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOG_CONFIG = Path(__file__).resolve().with_name("log4j2.properties")

_FORMAT_SECONDS = 60


class KafkaBroker(ServerProcess):
    """One broker of a `KafkaCluster`, which is also one of its controllers. The cluster makes it."""

    # Measured at 2 to 4 s on two cores; a busy CI machine takes ten times that.
    ready_within = 120.0

    def __init__(self, node: int, folder: Path, port: int, settings: Mapping[str, str], options: Sequence[str]) -> None:
        """Prepare, without starting anything. `settings` are all of server.properties, `options` those of java."""
        super().__init__(f"kafka-{node}", folder, port)
        self.node = node
        self._settings = {**settings, "log.dirs": str(self.folder / "data")}
        self._options = options

    def command(self) -> list[str]:
        """Write server.properties and return the command that runs the broker."""
        return [*self._java(), "kafka.Kafka", str(self._configuration())]

    def is_ready(self) -> bool:
        """Tell whether the broker answers requests and counts itself among the brokers at work."""
        return self.node in self.members()

    def members(self) -> set[int]:
        """Return the node ids of the brokers at work, as this broker sees them. Raise OSError when it is silent."""
        return cluster_members(HOST, self.port)

    def wait_for_cluster(self, count: int) -> None:
        """
        Block until this broker knows that many at work and has consumer groups served.

        Without the latter the first consumer would wait some three seconds while the groups' own topic is made.
        Raise `LocalServicesError` when it does not come to that.
        """
        if not wait_until(lambda: self._is_in_cluster(count), self.ready_within):
            message = f"{self.name} did not find {count} brokers; its log ends:\n{self.log_tail()}"
            raise LocalServicesError(message)

    def format(self, cluster_id: str) -> None:
        """Prepare the data folder, once; a formatted one is left as it is. Blocks for about a second."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        command = [*self._java(), "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id]
        command += ["--ignore-formatted", "--config", str(self._configuration())]
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=_FORMAT_SECONDS, check=False)
        if done.returncode != 0:
            message = f"{self.name} could not format its folder:\n{self.log_tail()}"
            raise LocalServicesError(message)

    def _is_in_cluster(self, count: int) -> bool:
        try:
            return len(self.members()) >= count and serves_groups(HOST, self.port)
        except OSError:
            return False

    def _configuration(self) -> Path:
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        return file

    def _java(self) -> list[str]:
        classpath = f"{programs.kafka_jars()}/*"
        return [programs.java(), *self._options, f"-Dlog4j2.configurationFile={_LOG_CONFIG.as_uri()}", "-cp", classpath]


class KafkaCluster(ServerGroup):
    """
    One or three brokers, each on a port of its own, with data that outlives their restarts.

    See `ServerGroup` for how they end.
    """

    def __init__(
        self,
        brokers: int = 1,
        folder: Path | None = None,
        profile: Profile = "test",
        settings: Mapping[str, str] | None = None,
        ports: Sequence[int] | None = None,
    ) -> None:
        """
        Prepare, without starting anything.

        `settings` are lines of server.properties for every broker, above the defaults. `ports` are one per broker;
        without them free ones are taken. Without a folder a temporary one is made, removed by `close`. In a folder
        that was used before, the cluster goes on with its data. Raise `LocalServicesError` for another number of
        brokers.
        """
        if brokers not in (1, 3):
            message = f"a cluster has 1 or 3 brokers, not {brokers}"
            raise LocalServicesError(message)
        if ports is not None and len(ports) != brokers:
            message = f"{brokers} brokers need {brokers} ports, not {len(ports)}"
            raise LocalServicesError(message)
        super().__init__("kafka", folder)
        chosen = free_ports(2 * brokers)
        shared = {**cluster_settings(chosen[brokers:]), **(settings or {})}
        self.brokers = [
            KafkaBroker(
                node,
                self.folder / f"kafka-{node}",
                port,
                {**shared, **broker_settings(node, port, controller)},
                java_options(profile),
            )
            for node, port, controller in zip(
                range(1, brokers + 1), ports or chosen[:brokers], chosen[brokers:], strict=True
            )
        ]

    @property
    def bootstrap(self) -> str:
        """Return host:port of every broker, comma-separated, as a client's bootstrap.servers wants them."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def processes(self) -> Sequence[KafkaBroker]:
        """Return the brokers."""
        return self.brokers

    def start(self) -> None:
        """
        Start all brokers and block until each answers and knows all the others.

        The first start on a machine downloads Kafka. Raise `LocalServicesError` when a broker cannot be started;
        those that could are stopped.
        """
        try:
            cluster_id = self._cluster_id()
            with ThreadPoolExecutor(len(self.brokers)) as pool:
                list(pool.map(lambda broker: broker.format(cluster_id), self.brokers))
            for broker in self.brokers:
                broker.launch()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self) -> None:
        """Block until every broker answers and knows all the others. Raise `LocalServicesError` when that fails."""
        for broker in self.brokers:
            broker.wait_ready()
        for broker in self.brokers:
            broker.wait_for_cluster(len(self.brokers))

    def restart(self) -> None:
        """Stop all brokers and start them on the same ports with the same data. Block and raise like `start`."""
        self.stop()
        self.start()

    def _cluster_id(self) -> str:
        file = self.folder / "cluster-id"
        with contextlib.suppress(FileNotFoundError):
            return file.read_text().strip()
        # The tool that formats takes a first character of "-" for an option, and numbers below 128 never make one.
        made = base64.urlsafe_b64encode(bytes([os.urandom(1)[0] & 0x7F]) + os.urandom(15)).decode().rstrip("=")
        file.write_text(made)
        return made
