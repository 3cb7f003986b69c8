"""
The URL of a result backend, read into settings and shown without its secrets. Pure: it opens and imports nothing.

::

    streamresults://broker:9092/results?redis=redis://redis:6379/0
    streamresults://user:password@broker:9092/results?brokers=second:9092,third:9092&redis=...&kafka.client.id=web
    redis-streamresults://redis:6379/0?brokers=broker:9092&topic=results

In the first form the address is a Kafka broker and the path is the topic, in the last one the address is Redis, for
tools that look at what stands before ``://``. Every field of :class:`streamresults.Settings` is an option, and so is
every property of librdkafka with ``kafka.`` before it. ``fallback_backend`` is a URL of another backend; an ``&`` in
it is written ``%26``. Several brokers are best written as ``brokers``: many tools
read the port of an address, and fail at a list.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from streamresults.errors import ConfigurationError
from streamresults.settings import Settings

#: The scheme whose address is Redis.
REDIS_SCHEME: Final = "redis-streamresults"
#: ``kafka`` is what Celery leaves of ``streamresults+kafka://``.
SCHEMES: Final = ("streamresults", "kafka", REDIS_SCHEME)

_MASK: Final = "**"
_KAFKA: Final = "kafka."
_SECRET_WORDS: Final = ("password", "secret", "key", "token")
#: Names of options that are shorter than those of the settings they set.
_SHORT: Final = {"redis": "redis_url"}
_LISTS: Final = frozenset({"accept", "allow"})
#: Written as ``id=value,id=value``, with ``%3D`` for the inner ``=`` where a tool insists on it.
_TABLES: Final = frozenset({"signing_keys", "signing_retired", "task_expires"})
#: The option that is none of the settings: it is for the adapter alone.
FALLBACK: Final = "fallback_backend"


def settings_in(url: str) -> dict[str, Any]:
    """
    Return the settings that a URL states, by their names; none for an empty one.

    Raises:
        ConfigurationError: It has a scheme of somebody else, or an option that is none; the message names it.
    """
    if not url:
        return {}
    parts = _split(url)
    found: dict[str, Any] = {}
    kafka: dict[str, str] = {}
    brokers: list[str] = []
    if parts.scheme == REDIS_SCHEME:
        if parts.netloc:
            found["redis_url"] = urlunsplit(("redis", parts.netloc, parts.path, "", ""))
    else:
        kafka |= _login(parts)
        brokers += _hosts(parts)
        topic = unquote(parts.path.strip("/"))
        if topic:
            found["topic"] = topic
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, text in ((name, text) for name, text in options if name != FALLBACK):
        if name.startswith(_KAFKA):
            kafka[name.removeprefix(_KAFKA)] = text
        elif name == "brokers":
            brokers += [part for part in text.split(",") if part]
        else:
            found[_field(name)] = _parsed(name, text)
    if brokers:
        found["kafka_bootstrap"] = ",".join(brokers)
    if kafka:
        found["kafka"] = kafka
    return found


def fallback_in(url: str) -> str:
    """Return the backend that a URL names as the one to fall back on; empty for none."""
    return dict(parse_qsl(urlsplit(url).query)).get(FALLBACK, "")


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        msg = f"a result backend's URL begins with {SCHEMES[0]}:// or {REDIS_SCHEME}://, not with {parts.scheme!r}"
        raise ConfigurationError(msg)
    return parts


def _hosts(parts: SplitResult) -> list[str]:
    hosts = parts.netloc.rpartition("@")[2]
    return [host for host in hosts.split(",") if host]


def _login(parts: SplitResult) -> dict[str, str]:
    """Return what a user and a password before the brokers mean: SASL over TLS, unless options say otherwise."""
    login, at, _ = parts.netloc.rpartition("@")
    if not at:
        return {}
    user, _, password = login.partition(":")
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": unquote(user),
        "sasl.password": unquote(password),
    }


def _field(name: str) -> str:
    field = _SHORT.get(name, name)
    if field in Settings.__struct_fields__ and field != "kafka":
        return field
    known = [*_SHORT, "brokers", FALLBACK, *Settings.__struct_fields__]
    near = get_close_matches(name, known, n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    msg = f"{name!r} in the result backend's URL is no setting{hint}"
    raise ConfigurationError(msg)


def _parsed(name: str, text: str) -> Any:
    if name in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if name in _TABLES:
        return {key.strip(): value.strip() for key, _, value in (part.rpartition("=") for part in text.split(","))}
    return text


def masked(url: str) -> str:
    """Return a URL as it may be shown: passwords, keys and tokens are hidden wherever they stand in it."""
    parts = urlsplit(url)
    options = [(name, _masked_option(name, text)) for name, text in parse_qsl(parts.query, keep_blank_values=True)]
    query = "&".join(f"{quote(name)}={quote(text, safe=':/@,*')}" for name, text in options)
    return urlunsplit((parts.scheme, _masked_address(parts.netloc), parts.path, query, ""))


def _masked_address(address: str) -> str:
    login, at, hosts = address.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{user}{colon}{_MASK if colon else ''}{at}{hosts}"


def _masked_option(name: str, text: str) -> str:
    if any(word in name.lower() for word in _SECRET_WORDS):
        return _MASK
    return masked(text) if "://" in text else text
