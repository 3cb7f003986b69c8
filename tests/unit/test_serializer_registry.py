"""Content types are checked before any byte is looked at, and no serializer replaces another."""

from __future__ import annotations

import sys

import pytest

from streamresults.errors import ConfigurationError, ContentTypeRefused, PayloadNotDecodable
from streamresults.events.json_serializer import JsonSerializer
from streamresults.events.payloads import SerializerRegistry, default_registry
from tests.unit.payload_values import JSON


class Recorder:
    """A serializer that remembers whether it was asked to decode, and fails."""

    name = "recorder"
    content_type = "application/x-recorder"

    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, value: object, *, path: str = "result") -> bytes:
        """Fail."""
        raise NotImplementedError(path, value)

    def decode(self, data: bytes) -> object:
        """Count, and fail."""
        self.decoded += 1
        raise ZeroDivisionError(data)


@pytest.mark.parametrize("content_type", ["application/x-recorder", "application/x-python-serialize", "", "Text/x"])
def test_a_content_type_off_the_accept_list_is_refused_unseen(content_type: str) -> None:
    """The accept list comes before any decoding."""
    recorder = Recorder()
    registry = SerializerRegistry((JSON, recorder))

    with pytest.raises(ContentTypeRefused) as caught:
        registry.decode(content_type, b"1", accept=frozenset({"application/json"}))

    assert 0 == recorder.decoded
    assert content_type == caught.value.content_type


def test_an_unknown_content_type_is_refused_even_if_accepted() -> None:
    """Accepting a type does not make anybody able to read it."""
    with pytest.raises(ContentTypeRefused):
        default_registry().decode(
            "application/x-python-serialize", b"1", accept=frozenset({"application/x-python-serialize"})
        )
    with pytest.raises(ContentTypeRefused):
        default_registry().decode("application/x-python-serialize", b"1")


def test_a_foreign_serializer_s_error_is_named_ours() -> None:
    """One bad payload is one PayloadNotDecodable, whoever decodes it."""
    with pytest.raises(PayloadNotDecodable, match="ZeroDivisionError"):
        SerializerRegistry((Recorder(),)).decode("application/x-recorder", b"1")


def test_pickle_bytes_labelled_json_are_never_unpickled() -> None:
    """A label does not choose another decoder."""
    before = set(sys.modules)

    with pytest.raises(PayloadNotDecodable):
        default_registry().decode("application/json", b"cthis\nFooBar\n.")
    assert before == set(sys.modules)


def test_a_registry_resolves_names_into_an_accept_list() -> None:
    """Settings may say json or application/json."""
    registry = default_registry()

    actual = registry.content_types(["json", "application/x-msgpack"])

    assert {"application/json", "application/x-msgpack"} == actual
    assert registry.by_name("json") is registry.by_content_type("application/json")
    with pytest.raises(ConfigurationError, match="'yaml'; registered: json, msgpack"):
        registry.content_types(["yaml"])


def test_no_serializer_replaces_another() -> None:
    """A plugin cannot take over a name or a content type, and two registries share nothing."""
    registry = default_registry()
    taken = Recorder()
    taken.content_type = JSON.content_type

    with pytest.raises(ConfigurationError):
        registry.register(JsonSerializer())
    with pytest.raises(ConfigurationError):
        registry.register(taken)
    registry.register(Recorder())
    with pytest.raises(ConfigurationError):
        default_registry().by_name("recorder")
