"""
The settings of both worlds in one: defaults < ``streamresults.toml`` < environment < Celery's settings < its
``result_backend_transport_options`` < the backend's URL.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from celery.exceptions import ImproperlyConfigured
from kombu.compression import get_encoder
from msgspec import structs

from streamresults.celery.redis_options import with_celerys, without_effect
from streamresults.celery.urls import FALLBACK, fallback_in, settings_in
from streamresults.errors import ConfigurationError
from streamresults.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping

_log: Final = logging.getLogger("streamresults.celery")
#: What kombu calls compressions, and what the log knows that does the same. Every reader of the log must be able to
#: read a payload, so other compressions than these are not written into it.
_COMPRESSIONS: Final = {"gzip": "gzip", "zlib": "gzip", "zstd": "zstd", "zstandard": "zstd"}
#: Compression of whoever asks for one that the log does not know.
_INSTEAD: Final = "zstd"
#: Transport options of Celery's own backends; what they mean here stands in docs/celery.md.
_OF_CELERY: Final = frozenset(
    {
        "global_keyprefix",
        "retry_policy",
        "result_chord_ordered",
        "additional_connection_errors",
        "master_name",
        "min_other_sentinels",
        "sentinel_kwargs",
        "visibility_timeout",
    }
)

#: What was said already; once in a process is enough.
_said: Final[set[str]] = set()


def settings_of(conf: Any, url: str, *, compression: str | None) -> Settings:
    """
    Return what an application's result backend is told.

    Args:
        conf: The application's ``conf``.
        url: The backend's URL; empty for a bare name.
        compression: ``result_compression``, which Celery itself knows from 5.7 on.

    Raises:
        ImproperlyConfigured: Something contradicts something else, or is none of the settings; the message names it.
    """
    try:
        stated = {**_of_celery(conf, compression), **_of_options(conf.get("result_backend_transport_options") or {})}
        kafka = {**stated.pop("kafka", {})}
        in_url = settings_in(url)
        kafka |= in_url.pop("kafka", {})
        settings = load({**stated, **in_url, "kafka": kafka})
        _say_what_has_no_effect(conf, url, settings.redis_url)
        return structs.replace(settings, redis_url=with_celerys(settings.redis_url, conf))
    except ConfigurationError as exc:
        msg = f"the result backend cannot be configured: {exc}"
        raise ImproperlyConfigured(msg) from exc


def fallback_of(conf: Any, url: str) -> str:
    """Return the URL of the backend to ask for what is not found; empty for none."""
    options = conf.get("result_backend_transport_options") or {}
    return fallback_in(url) or str(options.get(FALLBACK) or "")


def seconds(expires: float | timedelta | None) -> float:
    """Return an expiry of Celery's in seconds; 0 for never, as with ``None``."""
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    return expires or 0


def _of_celery(conf: Any, compression: str | None) -> dict[str, Any]:
    expires = [seconds(conf.result_expires), seconds(conf.get("result_failure_expires"))]
    return {
        "result_expires": expires[0],
        # One of the two repeats what failed: Celery by its three numbers, or the publisher within its timeout.
        "always_retry": not conf.get("result_backend_always_retry", False),
        "compression": _compression(compression),
        "redis_url": _redis_url(conf),
    }


def _compression(name: str | None) -> str | None:
    if not name:
        return None
    known = _COMPRESSIONS.get(name)
    if known is None:
        try:
            get_encoder(name)
        except KeyError:
            msg = f"result_compression {name!r} is no compression; there are {', '.join(sorted(_COMPRESSIONS))}"
            raise ConfigurationError(msg) from None
        _log.warning(
            "result_compression %r is no compression of the log: %s is used in its place, and read by everybody",
            name,
            _INSTEAD,
            extra={"action": "compression_replaced"},
        )
    return known or _INSTEAD


def _redis_url(conf: Any) -> str | None:
    """Return the Redis that Celery's own settings name, if they name one."""
    host = conf.get("redis_host")
    if not host:
        return None
    login = ""
    # As Celery has it: the login of its settings goes where a provider gives one.
    if conf.get("redis_password") and not conf.get("redis_backend_credential_provider"):
        login = f"{quote(conf.get('redis_username') or '', safe='')}:{quote(conf.redis_password, safe='')}@"
    scheme = "rediss" if conf.get("redis_backend_use_ssl") else "redis"
    return f"{scheme}://{login}{host}:{conf.get('redis_port') or 6379}/{conf.get('redis_db') or 0}"


def _say_what_has_no_effect(conf: Any, url: str, redis_url: str) -> None:
    """Name, once, settings of Celery's backend on Redis that somebody has made and that do nothing here."""
    # An old backend that is still asked goes by all of them.
    if fallback_of(conf, url):
        return
    new = [name for name in without_effect(redis_url, conf) if name not in _said]
    if new:
        _said.update(new)
        _log.warning(
            "without effect on results here: %s. Applications are kept apart by topic and namespace; what Celery's "
            "settings do not say of connections to Redis stands in its URL: redis=redis://host:6379/0?max_connections=50",
            ", ".join(new),
            extra={"action": "settings_without_effect"},
        )


def _of_options(options: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in options.items():
        if name in Settings.__struct_fields__:
            found[name] = value
        elif name not in _OF_CELERY and name != FALLBACK:
            _log.warning(
                "%r in result_backend_transport_options is no setting, and ignored",
                name,
                extra={"action": "unknown_option"},
            )
    return found
