"""
Configuration, read once: defaults < ``streamresults.toml`` < environment < what a caller states. Only wiring sees it.

Every field is also an environment variable: ``STREAMRESULTS_`` and the field's name in capitals. With ``_FILE`` behind
it, the value is read from the file that it names, for secrets. ``STREAMRESULTS_CONFIG`` names the file.

A variable of this prefix that is almost a setting is an error, as it is a misspelling. One that is like none is a
warning alone: Kubernetes sets ``STREAMRESULTS_REDIS_PORT`` and its like where a service is called streamresults-redis.
"""

from __future__ import annotations

import logging
import os
import tomllib
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from streamresults.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_log: Final = logging.getLogger("streamresults.settings")
_PREFIX: Final = "STREAMRESULTS_"
#: Variables of the prefix that deploy/local reads and exports.
_LOCAL: Final = frozenset({"CACHE", "LOCAL", "REDIS_SERVER"})
#: From where on a name is taken for a misspelt one, from 0 to 1. Lower refuses what others set, such as REDIS_PORT;
#: higher lets mistakes pass.
_ALIKE: Final = 0.78
#: ``STREAMRESULTS_KAFKA__SASL_USERNAME`` is librdkafka's ``sasl.username``.
_KAFKA_PREFIX: Final = "STREAMRESULTS_KAFKA__"
_FILE_SUFFIX: Final = "_FILE"
_SECRET_WORDS: Final = ("password", "secret", "key", "token")
_DAY: Final = 86_400.0
#: Levels of nesting that may be asked for: a level takes up to three of Python's 1000 frames.
_DEPTH_AT_MOST: Final = 250
#: Fields of which ``None`` is a value, where a caller states it.
_NONE_COUNTS: Final = frozenset({"result_cache_max"})
#: A moment that is one everywhere.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process is told; durations are seconds, sizes are bytes."""

    #: Kafka's ``bootstrap.servers``; empty: this process has no Kafka, and waits on the view alone.
    kafka_bootstrap: str = ""
    #: librdkafka properties by their own names, over all that streamresults sets itself.
    kafka: dict[str, str] = msgspec.field(default_factory=dict)
    #: Redis URL; empty: this process has no Redis, and waits on the topic alone.
    redis_url: str = ""
    #: The topic of result events. ``.schemas`` and ``.dlq`` are appended for its two companions.
    topic: str = "results"
    #: Prefix of keys, channels and the consumer group; empty: Kafka's cluster id.
    namespace: str = ""
    #: The compactors' consumer group; empty: made from namespace and topic.
    group: str = ""

    #: How long a result is kept when its publisher does not say; 0: until retention takes it.
    result_expires: float = _DAY
    #: The same by a task's registered name: a table in the file, ``name=seconds,name=seconds`` in the environment.
    task_expires: dict[str, float] = msgspec.field(default_factory=dict)
    #: Longest expiry that may be asked for. The topic must retain it and one day more.
    longest_expiry: float = 7 * _DAY
    #: The name of the serializer that encodes results.
    serializer: str = "json"
    #: Names or content types of serializers whose payloads are decoded; anything else is refused unread.
    accept: tuple[str, ...] = ("application/json", "application/x-msgpack")
    #: Exceptions that may be rebuilt, as ``module:QualifiedName``, beside the ordinary builtin ones.
    allow: tuple[str, ...] = ()
    #: A TOML file with a list ``allow`` of further ones, such as one that many services share; empty: none.
    allow_file: str = ""

    #: Largest record that is decoded. Larger lets one record take a client's memory: decoded it is up to a hundred
    #: times as large. Smaller refuses what the topic's max.message.bytes lets in.
    record_max: int = 4_194_304
    #: Exceptions of one record, the chain and the members of groups. Readers look at twice as many of everything.
    exception_chain_max: int = 128
    #: Direct members of one exception group that are kept: what failed alike is told by the first ones.
    exception_children_max: int = 64
    #: Frames of one exception, half of them from each end.
    exception_frames_max: int = 200
    #: Arguments, and builtin fields, of one exception; with more it carries a data set.
    exception_arguments_max: int = 64
    #: Attributes of one exception; the same reason.
    exception_attributes_max: int = 64
    #: Notes of one exception: enough for one per retry, too few for one per row.
    exception_notes_max: int = 64
    #: Characters of a message or a note. Smaller cuts compiler and database errors, larger is an attachment.
    exception_message_max: int = 16_384
    #: Bytes of one encoded argument, attribute or field; a larger one travels as its shortened repr.
    exception_value_max: int = 65_536
    #: Characters of the formatted traceback; of more, both ends are kept.
    exception_traceback_max: int = 65_536
    #: Characters of a module, class or attribute name. Smaller refuses generated code's names, larger lets records fill
    #: logs and metrics with them.
    exception_name_max: int = 256
    #: Bytes of one captured exception without the traceback's text. Larger may not fit into a record beside a payload.
    exception_total_max: int = 393_216

    #: How long a ready event may take to be acknowledged.
    publish_timeout: float = 30.0
    #: Most events queued for the brokers; at 1 KiB each the default is 100 MB. Smaller blocks workers in a short
    #: outage; larger costs memory.
    publish_queue_max: int = 100_000
    #: Most bytes queued for the brokers.
    publish_queue_bytes: int = 64 * 1024 * 1024

    #: Whether events say a task's name, arguments, worker, retries, queue and stamps.
    extended_metadata: bool = True
    #: Shortest time between two reports of progress of one task; the last one is never left out. 0: all of them.
    #: Smaller fills the log with what nobody reads, larger makes progress bars jump.
    progress_interval: float = 0.5
    #: Whether an event that ends a task is published again, inside its deadline, where that is safe and may help.
    always_retry: bool = True
    #: How often at most; negative: as often as the deadline allows.
    max_retries: int = -1
    #: The pause before a first retry is drawn from 0 to this, and doubles with each one. In milliseconds.
    retry_base_sleep_ms: int = 10
    #: The longest pause, in milliseconds. Smaller asks brokers in trouble more often, larger notices late that they
    #: are back.
    retry_max_sleep_ms: int = 10_000
    #: A directory on a local disk that keeps what Kafka does not take; empty: publishing fails then.
    spool: str = ""
    #: Most bytes that all processes together keep there. When it is full, publishing fails.
    spool_bytes: int = 256 * 1024 * 1024

    #: Which of ``signing_keys`` signs what this process writes; empty: nothing is signed.
    signing_key_id: str = ""
    #: Secrets of at least 32 bytes by the id of their key: a table in the file, ``id=secret,id=secret`` in the
    #: environment. With any, everything that reads the log refuses records without a right signature of one of them.
    signing_keys: dict[str, str] = msgspec.field(default_factory=dict)
    #: From when on what a key has signed is refused, by its id: RFC 3339, held against the brokers' append time. What
    #: it signed before stays readable.
    signing_retired: dict[str, Moment] = msgspec.field(default_factory=dict)
    #: Seconds between signing and appending; 0: any. Smaller refuses workers whose clocks are wrong, larger lets who
    #: may write to the topic repeat older records.
    signature_window: float = 300.0
    #: What was appended before this time needs no signature: when a topic that has records begins to be signed.
    unsigned_before: Moment | None = None

    #: How payloads are compressed: ``zstd``, ``gzip`` or, empty, not at all.
    compression: str = ""
    #: Smaller payloads are not compressed: it costs more time than it saves bytes.
    compress_above: int = 4096
    #: Where large payloads rest: a directory, or a URL such as ``s3://bucket/results``. Readers need it too.
    payload_store: str = ""
    #: Payloads that are larger, compressed or not, go there. Smaller makes more requests to it, larger fills the log.
    payload_store_above: int = 512 * 1024
    #: Largest payload that is published or read, decompressed. Bounds what one record can cost a reader.
    payload_max: int = 256 * 1024 * 1024
    #: Levels that a value may nest, at most 250. Smaller refuses real trees and documents, larger lets a value use up
    #: the stack of who reads it.
    payload_depth_max: int = 100
    #: Bytes that one compressed byte may become, for payloads above 1 MiB. Smaller refuses what is very repetitive,
    #: larger lets small records grow into much memory.
    payload_ratio: int = 200

    #: How long a wait lasts when its caller does not say.
    wait_timeout: float = 30.0
    #: Seconds between safety re-reads of a wait through the view. Smaller loads Redis, larger delays what a flush, a
    #: failover or a lost message held up; ordinary results are woken at once whatever it is.
    wait_interval: float = 1.0
    #: Results of tasks that succeeded, kept for all handles of a client: so many, 0 or ``None`` for any number, -1 for
    #: none. Each takes its record's bytes and 700 bytes more; one that is forgotten elsewhere may be kept for a while.
    result_cache_max: int | None = -1
    #: Traffic, in bytes a second over the partitions waited for, up to which ``via="auto"`` reads the topic.
    join_budget: float = 5_000_000.0
    #: Turns the safety re-reads of waiters off; for tests of the wake-up itself.
    safety_rereads: bool = True

    #: Values above it are kept as a header alone and fetched from the log. Larger fills Redis and blocks its scripts.
    inline_max: int = 65_536
    #: Most events in one script. Larger blocks Redis for longer, smaller pays the round trip per fewer events.
    batch_events: int = 500
    #: Most bytes of values in one script; 500 values of 200 KB would block Redis for 0.7 s.
    batch_bytes: int = 1_048_576
    #: Most bytes fetched ahead of the view. Bounds the compactor's memory while Redis is away.
    fetch_bytes: int = 16 * 1024 * 1024
    #: Offsets that a lagging view is rewound at most; above it a new generation begins.
    rewind_max: int = 1_000_000
    #: Accept an evicting Redis; every miss is then NotYetCovered.
    allow_eviction: bool = False

    def __repr__(self) -> str:
        # Whoever logs it or sees it in a traceback is shown no secret.
        return f"Settings({', '.join(f'{name}={text!r}' for name, text in describe(self).items())})"

    @property
    def schemas_topic(self) -> str:
        """The compacted topic that holds every schema in use."""
        return f"{self.topic}.schemas"

    @property
    def dead_letter_topic(self) -> str:
        """The topic of records that could not be read."""
        return f"{self.topic}.dlq"


def load(overrides: Mapping[str, Any] | None = None, *, file: str | None = None) -> Settings:
    """
    Read the configuration.

    Args:
        overrides: Fields by name, stronger than everything else; ``None`` counts as not stated, but for
            ``result_cache_max``.
        file: A TOML file to read instead of ``streamresults.toml`` in the working directory.

    Raises:
        ConfigurationError: A file that was named is missing, a variable is misspelt, or a value cannot be what its
            field is; the message names it.
    """
    for variable, hint in unknown_variables().items():
        _log.warning("%s is no setting%s", variable, hint, extra={"action": "unknown_variable", "variable": variable})
    found: dict[str, Any] = _from_file(file)
    found["kafka"] = {**found.get("kafka", {}), **_kafka_properties()}
    found |= _from_environment()
    stated = {name: value for name, value in (overrides or {}).items() if value is not None or name in _NONE_COUNTS}
    found["kafka"] |= stated.pop("kafka", {})
    found |= stated
    if found.get("signing_keys", True) in ({}, ""):
        # An empty file of secrets must not turn off in silence what somebody has turned on.
        raise ConfigurationError("signing_keys has no key; leave it out where records are not signed")
    try:
        settings = msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as exc:
        msg = f"the configuration cannot be read: {exc}"
        raise ConfigurationError(msg) from exc
    _check(settings)
    return settings


def unknown_variables() -> dict[str, str]:
    """
    Return the variables of our prefix that are like no setting, each with what to add to a sentence about it.

    Raises:
        ConfigurationError: One is almost a setting.
    """
    settings = [name.upper() for name in Settings.__struct_fields__ if name != "kafka"]
    known = {*settings, *(name + _FILE_SUFFIX for name in settings), "CONFIG"}
    found = {}
    for variable in sorted(os.environ):
        name = variable.removeprefix(_PREFIX)
        if name == variable or name in known | _LOCAL or variable.startswith(_KAFKA_PREFIX):
            continue
        near = get_close_matches(name.upper(), [*settings, "CONFIG"], n=1, cutoff=_ALIKE)
        if near:
            msg = f"{variable} is no setting: did you mean {_PREFIX}{near[0]}?"
            raise ConfigurationError(msg)
        of_kafka = name == "KAFKA" or name.startswith("KAFKA_")
        found[variable] = f"; a property of librdkafka has two underscores: {_KAFKA_PREFIX}..." if of_kafka else ""
    return found


def describe(settings: Settings) -> dict[str, str]:
    """Return every field as text with secrets masked, for people and logs."""
    shown = {name: str(getattr(settings, name)) for name in Settings.__struct_fields__}
    shown["redis_url"] = _masked_url(settings.redis_url)
    shown["kafka"] = str({k: "***" if _is_secret(k) else v for k, v in settings.kafka.items()})
    shown["signing_keys"] = str(dict.fromkeys(settings.signing_keys, "***"))
    return shown


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def _masked_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    login, at, host = place.rpartition("@")
    user = login.partition(":")[0]
    shown = f"{user}:***{at}{host}" if at else host
    options = [
        f"{name}=***" if _is_secret(name) else f"{name}{is_}{value}"
        for name, is_, value in (option.partition("=") for option in query.split("&"))
    ]
    return f"{scheme}{separator}{shown}{mark}{'&'.join(options)}" if separator else url


def _from_file(named: str | None) -> dict[str, Any]:
    variable = f"{_PREFIX}CONFIG"
    wanted = named or os.environ.get(variable)
    path = Path(wanted or "streamresults.toml")
    if not path.exists():
        if wanted:
            msg = f"no configuration file at {wanted}" + ("" if named else f", which {variable} names")
            raise ConfigurationError(msg)
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        msg = f"the configuration file {path} cannot be read: {exc}"
        raise ConfigurationError(msg) from exc


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        if name == "kafka":
            continue
        variable = _PREFIX + name.upper()
        text = os.environ.get(variable)
        is_another = name + _FILE_SUFFIX.lower() in Settings.__struct_fields__  # allow_file is a setting of its own
        if text is None and not is_another and variable + _FILE_SUFFIX in os.environ:
            text = _read_secret(os.environ[variable + _FILE_SUFFIX])
        if text is not None:
            found[name] = _parsed(name, text)
    return found


def _parsed(name: str, text: str) -> Any:
    """Return a variable's text as what its field is made of."""
    if name in {"accept", "allow"}:
        return _split(text)
    if name == "task_expires":
        return {task.strip(): _seconds(said) for task, _, said in (part.rpartition("=") for part in _split(text))}
    if name in {"signing_keys", "signing_retired"}:
        return _by_key_id(name, text)
    return text


def _by_key_id(name: str, text: str) -> dict[str, str]:
    """Return ``id=value`` by id; a file may have one on each line."""
    pairs = [part.partition("=") for line in text.splitlines() for part in _split(line)]
    found = {key_id.strip(): value.strip() for key_id, _, value in pairs}
    if len(found) < len(pairs) or not all(is_ for _, is_, _ in pairs):
        msg = f"{name} is id=value, separated by commas or on lines of their own, and no id stands there twice"
        raise ConfigurationError(msg)
    return found


def _seconds(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the conversion of all fields says what is wrong


def _kafka_properties() -> dict[str, str]:
    found = {}
    for variable, text in os.environ.items():
        if not variable.startswith(_KAFKA_PREFIX):
            continue
        name = variable.removeprefix(_KAFKA_PREFIX)
        if name.endswith(_FILE_SUFFIX):
            name, text = name.removesuffix(_FILE_SUFFIX), _read_secret(text)  # noqa: PLW2901 -- the text is its file's
        found[name.lower().replace("_", ".")] = text
    return found


def _read_secret(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as exc:
        msg = f"the file of a setting cannot be read: {exc}"
        raise ConfigurationError(msg) from exc


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check(settings: Settings) -> None:
    for name in (
        "result_expires",
        "longest_expiry",
        "publish_timeout",
        "progress_interval",
        "retry_base_sleep_ms",
        "retry_max_sleep_ms",
        "compress_above",
        "payload_store_above",
        "wait_timeout",
        "wait_interval",
        "join_budget",
        "signature_window",
    ):
        value = getattr(settings, name)
        if not 0 <= value < float("inf"):
            msg = f"{name} is a number from 0 up: {value}"
            raise ConfigurationError(msg)
    if settings.result_expires > settings.longest_expiry:
        msg = (
            f"result_expires {settings.result_expires:g} s is longer than longest_expiry {settings.longest_expiry:g} s"
        )
        raise ConfigurationError(msg)
    _check_task_expires(settings)
    if settings.payload_depth_max > _DEPTH_AT_MOST:
        msg = f"payload_depth_max is at most {_DEPTH_AT_MOST}: {settings.payload_depth_max}"
        raise ConfigurationError(msg)
    for name in (
        "batch_events",
        "batch_bytes",
        "fetch_bytes",
        "publish_queue_max",
        "publish_queue_bytes",
        "inline_max",
        "record_max",
        "spool_bytes",
        "payload_max",
        "payload_depth_max",
        "payload_ratio",
        *(name for name in Settings.__struct_fields__ if name.startswith("exception_")),
    ):
        if getattr(settings, name) < 1:
            msg = f"{name} is at least 1"
            raise ConfigurationError(msg)


def _check_task_expires(settings: Settings) -> None:
    for task, seconds in settings.task_expires.items():
        if not task or not 0 <= seconds <= settings.longest_expiry:
            msg = (
                f"task_expires of {task!r} is a number of seconds from 0 to longest_expiry, "
                f"{settings.longest_expiry:g}: {seconds}"
            )
            raise ConfigurationError(msg)
