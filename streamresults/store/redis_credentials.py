"""Logins that a credential provider of redis-py's gives, such as tokens that expire; it is asked at each connection."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import redis
from redis.credentials import CredentialProvider

#: Of the Redis URL: the class of a provider, as ``package.module:Class``.
OPTION: Final = "credential_provider"


class Credentials(CredentialProvider):
    """
    A provider whose failure is a connection that cannot be made now, and may be later.

    Args:
        stated: A provider, a class of them, or the dotted path of a class, which is called without arguments.

    Raises:
        ValueError: It is none of these.
    """

    def __init__(self, stated: object) -> None:
        found = _found(stated) if isinstance(stated, str) else stated
        if isinstance(found, type) and issubclass(found, CredentialProvider):
            found = found()
        if not isinstance(found, CredentialProvider):
            msg = f"{OPTION} is no redis.CredentialProvider, nor a class of them: {stated!r}"
            raise ValueError(msg)  # noqa: TRY004 -- as for every other option of the URL
        self._provider: Final = found

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """
        Return password, or user and password.

        Raises:
            ConnectionError: The library's own: the provider has raised something else.
        """
        try:
            return self._provider.get_credentials()
        except redis.RedisError:
            raise
        except Exception as exc:
            msg = f"{type(self._provider).__name__} gave no login: {type(exc).__name__}: {exc}"
            raise redis.ConnectionError(msg) from exc


def _found(path: str) -> object:
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        msg = f"{OPTION} {path!r} is not there: {exc}"
        raise ValueError(msg) from exc
