"""
``celery -A proj streamresults ...``: commands of this program, configured as the application's result backend is.

Celery finds it by its entry point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from streamresults.cli.exits import Exit, explain
from streamresults.cli.options import Invocation, common_options
from streamresults.cli.program import COMMANDS, Commands

if TYPE_CHECKING:
    from streamresults.settings import Settings

#: Those that have a meaning for one application; what they are for stands in the program's help.
_NAMES = ("get", "wait", "events", "forget", "tail", "replay", "lag", "exceptions", "doctor")


@dataclass(slots=True)
class OfApplication(Invocation):
    """Options over the settings of an application's result backend."""

    backend: Any = None
    listing: str = "streamresults_allow"

    def settings(self, **stated: Any) -> Settings:
        """Return the backend's settings, with the options over them."""
        import msgspec

        over = {
            "kafka_bootstrap": self.bootstrap,
            "topic": self.topic,
            "redis_url": self.redis,
            "namespace": self.namespace,
            "kafka": {**self.backend.settings.kafka, **self.properties},
            **stated,
        }
        stated = {name: value for name, value in over.items() if value is not None}
        settings: Settings = msgspec.structs.replace(self.backend.settings, **stated)
        return settings

    def credentials(self) -> object:
        """Return what gives the login of the backend's Redis; of another one the URL says all."""
        return self.backend.credentials if self.redis is None else None


class _Plugin(Commands):
    """Loads the file of a command when it is called, and ends by this program's exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names in the order of help."""
        return list(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        return super().get_command(ctx, cmd_name) if cmd_name in _NAMES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- the same
        """Write the list without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in _NAMES])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Have the options kept beside the application, from the first one on."""
        return super().make_context(*args, **{"obj": OfApplication(), **extra})

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command: at most one line of error, never a traceback."""
        try:
            code = super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.Abort, click.ClickException):
            raise
        except Exception as exc:  # noqa: BLE001 -- as in the program
            code = explain(exc)
        ctx.exit(int(code or Exit.OK))


@click.group("streamresults", cls=_Plugin)
@common_options()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at results in the log, as this application's result backend is configured."""
    from streamresults.celery import StreamResultsBackend

    app = ctx.find_root().obj.app
    if not isinstance(app.backend, StreamResultsBackend):
        msg = f"the application has another result backend: {type(app.backend).__name__}"
        raise click.UsageError(msg)
    app.backend.list_exceptions()
    given = ctx.find_object(Invocation)
    assert isinstance(given, OfApplication)
    given.backend = app.backend
