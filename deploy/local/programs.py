"""Find what the services are run from: the programs on PATH, and Kafka's jars in a cache folder."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from processes import LocalServicesError, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger("streamresults.local")

_HERE = Path(__file__).resolve().parent

# Downloads and installations on a slow line. Smaller: the first start fails there. Larger: a dead line hangs a CI job.
_DOWNLOAD_SECONDS = 600


def cache_folder() -> Path:
    """Return the folder that is kept between runs: STREAMRESULTS_CACHE, or ~/.cache/streamresults."""
    named = os.environ.get("STREAMRESULTS_CACHE")
    return Path(named).expanduser().resolve() if named else Path.home() / ".cache" / "streamresults"


def java() -> str:
    """Return the path of java, installing it where that is possible. May block for minutes, once."""
    return _program("java", "default-jre-headless")


def redis_server() -> str:
    """
    Return the path of a Redis or Valkey server, installing Redis where that is possible.

    STREAMRESULTS_REDIS_SERVER names another binary. Raise `LocalServicesError` when there is none to be had.
    """
    named = os.environ.get("STREAMRESULTS_REDIS_SERVER")
    if named:
        found = shutil.which(named)
        if found is None:
            message = f"STREAMRESULTS_REDIS_SERVER names {named}, which is not an executable file"
            raise LocalServicesError(message)
        return found
    valkey = shutil.which("valkey-server")
    if valkey is not None and shutil.which("redis-server") is None:
        return valkey
    return _program("redis-server", "redis-server")


def kafka_jars() -> Path:
    """
    Return the folder of Kafka's jars, downloading them first when it is missing.

    Blocks while it downloads, and while another process does. Raise `LocalServicesError` when that fails.
    """
    folder = cache_folder() / f"kafka-{kafka_version()}"
    if folder.is_dir():
        return folder
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            _download(folder)
    return folder


def kafka_version() -> str:
    """Return the version of Kafka that pom.xml names."""
    version = ET.parse(_HERE / "pom.xml").findtext(".//{*}kafka.version")
    if not version:
        message = f"{_HERE / 'pom.xml'} names no kafka.version"
        raise LocalServicesError(message)
    return version


def _download(folder: Path) -> None:
    maven = _program("mvn", "maven")
    _log.info("downloading Kafka %s into %s, once", kafka_version(), folder)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left behind by a download that was cut off; the lock is ours
    arguments = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    _run([maven, "-q", "-B", "--strict-checksums", "-f", str(_HERE / "pom.xml"), *arguments], "download Kafka's jars")
    part.rename(folder)


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or _installed(name, package)
    if found is None:
        message = (
            f"{name} is not on PATH. Install it (Debian, Ubuntu: apt-get install {package}; macOS: brew install "
            f"{'openjdk' if name == 'java' else 'maven' if name == 'mvn' else 'redis'})"
        )
        raise LocalServicesError(message)
    return found


def _installed(name: str, package: str) -> str | None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return None
    with locked(cache_folder() / "apt.lock"):
        if shutil.which(name) is None:
            _log.info("installing the package %s", package)
            with _no_system_service():
                _apt(apt, "update")
                _apt(apt, "install", "--yes", "--no-install-recommends", package)
    return shutil.which(name)


def _apt(apt: str, *arguments: str) -> None:
    # Another apt may be at work on the machine; without the timeout apt gives up at once.
    _run([apt, "-qq", "-o", "DPkg::Lock::Timeout=120", *arguments], f"run apt-get {arguments[0]}")


@contextlib.contextmanager
def _no_system_service() -> Iterator[None]:
    """Keep packages from starting their service: a Redis on the standard port is nobody's wish here."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")  # 101: "not allowed", which the package scripts respect
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _run(command: list[str], purpose: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"could not {purpose} within {_DOWNLOAD_SECONDS} s"
        raise LocalServicesError(message) from None
    if done.returncode != 0:
        raise LocalServicesError(f"could not {purpose}:\n" + "\n".join(done.stdout.splitlines()[-25:]))
