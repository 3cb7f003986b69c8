"""What the redis library raises, as the errors of streamresults; nothing is tried again here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import redis
from redis.sentinel import MasterNotFoundError

from streamresults.errors import StoreOutOfMemory, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


#: How refusals begin that end by themselves: a long script, no replica, a full disk, a failover.
_PASSES: Final = ("BUSY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "READONLY", "LOADING")
#: What a script says of a key that it names itself while a Cluster moves the key's slot; all versions have these words.
_MOVES: Final = "access a non local key"


def is_moving(error: Exception) -> bool:
    """Tell whether a script met a key whose slot is moving: TRYAGAIN, which the library has no class for here."""
    return isinstance(error, redis.exceptions.ResponseError) and _MOVES in str(error)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """
    Turn the library's errors into ours, each one line that says what to do.

    Args:
        where: Names the servers, without a password.

    Raises:
        StoreOutOfMemory: The server refuses writes because it is full.
        StoreRefused: The server takes the command for wrong.
        StoreUnavailable: Everything else that keeps it from answering.
    """
    try:
        yield
    except redis.exceptions.OutOfMemoryError as exc:
        msg = f"Redis at {where} is out of memory: raise maxmemory, or let results expire sooner"
        raise StoreOutOfMemory(msg) from exc
    except redis.exceptions.AuthenticationError as exc:
        msg = f"Redis at {where} refused the login: {exc}. Set the user and password in the Redis URL"
        raise StoreUnavailable(msg) from exc
    except redis.exceptions.NoPermissionError as exc:
        msg = f"Redis at {where} does not permit this user what is needed: {exc}. See the ACL rule in the documentation"
        raise StoreUnavailable(msg) from exc
    except redis.exceptions.ResponseError as exc:
        # The library has classes of its own for what passes by itself, and takes the code off their text.
        if type(exc) is not redis.exceptions.ResponseError or str(exc).startswith(_PASSES) or is_moving(exc):
            msg = f"Redis at {where} cannot do it just now ({type(exc).__name__}: {exc})"
            raise StoreUnavailable(msg) from exc
        msg = f"Redis at {where} refused a command: {exc}. Is it Redis 7 or Valkey, and are its keys ours alone?"
        raise StoreRefused(msg) from exc
    except (redis.exceptions.RedisError, OSError) as exc:
        # What the library says of sentinels lists every option of every connection.
        said = "no sentinel names this primary" if isinstance(exc, MasterNotFoundError) else exc
        msg = f"Redis not reachable or not able: {where} ({type(exc).__name__}: {said}). {_hint(str(exc))}"
        raise StoreUnavailable(msg) from exc


def _hint(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "Name the CA that signed its certificate: ssl_ca_certs=FILE in the Redis URL"
    if "AuthenticationError" in text:  # a sentinel refused the login
        return "Set sentinel_username and sentinel_password in the query of the Redis URL"
    return "Is it running?"
