"""The options that every command takes, before or behind its name, and what they amount to. Opens nothing by itself."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamresults.settings import Settings
    from streamresults.wiring import Wiring

_log: Final = logging.getLogger("streamresults.cli")
_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(slots=True)
class Invocation:
    """What the common options say; ``None`` where they say nothing."""

    bootstrap: str | None = None
    topic: str | None = None
    redis: str | None = None
    namespace: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    output: str = "table"
    log_level: str | None = None
    log_format: str = "text"
    quiet: bool = False
    #: The setting that lists exceptions.
    listing: str = "allow"

    def settings(self, **stated: Any) -> Settings:
        """
        Read the configuration with the options over it.

        Raises:
            ConfigurationError: See :func:`streamresults.settings.load`.
        """
        from streamresults.settings import load

        return load(
            {
                "kafka_bootstrap": self.bootstrap,
                "topic": self.topic,
                "redis_url": self.redis,
                "namespace": self.namespace,
                "kafka": self.properties or None,
                **stated,
            },
            file=self.config,
        )

    def wiring(self, *, log_level: str = "critical", **stated: Any) -> Wiring:
        """
        Open the configuration for a command and start its logging.

        Args:
            log_level: What is logged unless the options say otherwise. A command that ends says what went wrong by
                itself; only one that stays has anything to log.
            stated: Settings that the command states.
        """
        from streamresults.settings import describe
        from streamresults.wiring import Wiring

        self.start_logging(log_level)
        settings = self.settings(**stated)
        _log.debug("the configuration is %s", describe(settings), extra={"action": "configuration"})
        return Wiring(settings, credentials=self.credentials())

    def credentials(self) -> object:
        """Return what gives the login of Redis, where no URL can say it."""
        return None

    def start_logging(self, usual: str) -> None:
        """Log to stderr; the libraries underneath are heard at the level debug alone."""
        from streamresults.cli.logs import start

        start(self.log_level or ("warning" if self.quiet and usual == "info" else usual), self.log_format)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note an option in the invocation; behind the command it stands over the same option before it."""
    invocation = ctx.ensure_object(Invocation)
    if param.name == "properties":
        invocation.properties |= dict(value)
    elif value is not None and value is not False:
        setattr(invocation, str(param.name), value)


def _property(text: str) -> tuple[str, str]:
    """Read a librdkafka property: ``key=value``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        msg = f"{text!r} is not key=value, such as security.protocol=SSL."
        raise click.BadParameter(msg)
    return key.strip(), value


def duration(text: str) -> float:
    """
    Read seconds, or a number with a unit: ``500ms``, ``30s``, ``5m``, ``12h``, ``8d``.

    Raises:
        BadParameter: It is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h|d|)", str(text))
    if match is None:
        msg = f"{text!r} is not a duration, such as 30, 30s, 5m, 12h or 8d."
        raise click.BadParameter(msg)
    return float(match[1]) * _UNITS[match[2]]


def word(text: str) -> str:
    """
    Read a state or a name: at least one character, so that an empty variable of a shell is no "everything".

    Raises:
        BadParameter: It is empty.
    """
    if not text:
        raise click.BadParameter("it is empty; leave the option out, or give it at least one character.")
    return text


def task_id(text: str) -> str:
    """
    Read a task id: 1 to 1024 bytes of UTF-8.

    Raises:
        BadParameter: It is none.
    """
    from streamresults.events.event import TASK_ID_MAX_BYTES

    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        msg = f"{text!r} is not UTF-8."
        raise click.BadParameter(msg) from exc
    if not 1 <= size <= TASK_ID_MAX_BYTES:
        msg = f"a task id has 1 to {TASK_ID_MAX_BYTES} bytes, this one has {size}."
        raise click.BadParameter(msg)
    return text


def common_options(*, hidden: bool = False) -> Callable[[_Decorated], _Decorated]:
    """Add the options that every command takes; hidden behind a command, as its program's help shows them."""
    choice = click.Choice
    levels = choice(["debug", "info", "warning", "error"])

    def option(*names: str, **how: Any) -> Callable[[_Decorated], _Decorated]:
        return click.option(*names, expose_value=False, hidden=hidden, callback=_keep, **how)

    options = [
        option("-b", "--bootstrap", metavar="HOST:PORT,...", help="Kafka's bootstrap servers."),
        option("-t", "--topic", metavar="NAME", help="The topic of results. [default: results]"),
        option("--redis", metavar="URL", help="The Redis URL."),
        option("--namespace", metavar="NAME", help="Prefix of keys. [default: Kafka's cluster id]"),
        option("-X", "properties", type=_property, multiple=True, metavar="KEY=VALUE", help="A librdkafka property."),
        option("-F", "--config", metavar="FILE", help="A TOML file instead of streamresults.toml."),
        option("-o", "--output", type=choice(["table", "json", "jsonl"]), help="Form of the data. [default: table]"),
        option("--log-level", type=levels, help="Log to stderr from this level up; debug includes the libraries."),
        option("--log-format", type=choice(["text", "json"]), help="Form of the log. [default: text]"),
        option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    ]

    def decorate(command: _Decorated) -> _Decorated:
        for add in reversed(options):
            command = add(command)
        return command

    return decorate


pass_invocation: Final = click.make_pass_decorator(Invocation, ensure=True)
