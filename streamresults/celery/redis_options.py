"""
What Celery's settings say of connections to Redis, as options of the URL by which the view is reached.

Whatever the URL states itself is stronger. Pure: it opens nothing.
"""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

#: Settings of Celery's, the options that mean the same, and the values that say nothing.
_SAME: Final[dict[str, tuple[str, Any]]] = {
    "redis_socket_timeout": ("socket_timeout", 120.0),
    "redis_socket_connect_timeout": ("socket_connect_timeout", None),
    "redis_socket_keepalive": ("socket_keepalive", False),
    "redis_backend_health_check_interval": ("health_check_interval", None),
    "redis_client_name": ("client_name", None),
}
#: What gives the login: a class named by its path stands in the URL, an object is handed on beside it.
_PROVIDER: Final = "redis_backend_credential_provider"
#: What stands in the scheme of a URL whose address is that of sentinels.
_SENTINEL: Final = "+sentinel:"
#: How a server's certificate is looked at; and what redis-py calls the three ways.
_CHECK: Final = "ssl_cert_reqs"
_CERTIFICATES: Final = {
    ssl.CERT_NONE: "none",
    ssl.CERT_OPTIONAL: "optional",
    ssl.CERT_REQUIRED: "required",
    "CERT_NONE": "none",
    "CERT_OPTIONAL": "optional",
    "CERT_REQUIRED": "required",
}


def with_celerys(url: str, conf: Any) -> str:
    """
    Return the URL of the view with what an application's settings say beside it; an empty one stays empty.

    Args:
        url: Of one server, of those behind Sentinel, or of a Cluster.
        conf: The application's ``conf``.
    """
    if not url:
        return url
    options = conf.get("result_backend_transport_options") or {}
    address, _, query = url.partition("?")
    stated = dict(parse_qsl(query, keep_blank_values=True))
    found = {name: conf.get(setting) for setting, (name, default) in _SAME.items() if _made(conf, setting, default)}
    if isinstance(conf.get(_PROVIDER), str) and conf.get(_PROVIDER):
        found["credential_provider"] = conf.get(_PROVIDER)
    if address.startswith("rediss"):
        found |= conf.get("redis_backend_use_ssl") if isinstance(conf.get("redis_backend_use_ssl"), dict) else {}
    if _SENTINEL in address:
        address = _with_primary(address, options.get("master_name"))
        found |= {f"sentinel_{name}": value for name, value in (options.get("sentinel_kwargs") or {}).items()}
    both = {**found, **stated}
    if both.get(_CHECK) in _CERTIFICATES:
        both[_CHECK] = _CERTIFICATES[both[_CHECK]]
    told = urlencode({name: value for name, value in both.items() if _is_plain(value)})
    return f"{address}?{told}" if told else address


def credentials_of(conf: Any) -> object:
    """Return the credential provider, or the class of them, that the settings have as an object; ``None`` without."""
    provider = conf.get(_PROVIDER)
    return None if isinstance(provider, str) or not provider else provider


def without_effect(url: str, conf: Any) -> list[str]:
    """Return the settings for connections to Redis that somebody has made and that are no part of that URL."""
    options = conf.get("result_backend_transport_options") or {}
    made = [name for name in ("global_keyprefix", "retry_policy") if options.get(name)]
    if _SENTINEL not in url.partition("?")[0]:
        made += [name for name in ("master_name", "sentinel_kwargs") if options.get(name)]
    others = ("redis_retry_on_timeout", "redis_max_connections")
    return made + [name for name in others if conf.get(name)]


def _made(conf: Any, setting: str, default: Any) -> bool:
    """Tell whether somebody has made a setting; 0 and ``False`` are none of these."""
    return bool(conf.get(setting)) and conf.get(setting) != default


def _with_primary(address: str, primary: Any) -> str:
    scheme, _, rest = address.partition("://")
    hosts, _, named = rest.partition("/")
    return address if named or not primary else f"{scheme}://{hosts}/{quote(str(primary), safe='')}"


def _is_plain(value: Any) -> bool:
    """Tell whether a value can stand in a URL; objects of a library's own cannot."""
    return isinstance(value, str | int | float)
