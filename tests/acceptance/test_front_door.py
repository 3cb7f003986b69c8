"""What ``import streamresults`` offers, and what it does not cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamresults
from streamresults import errors


def test_import_loads_no_client_library() -> None:
    """The price of an import is paid by who opens a door."""
    code = (
        "import sys, streamresults\n"
        "streamresults.__all__, dir(streamresults), streamresults.__version__\n"
        "heavy = {'confluent_kafka', 'redis', 'fastavro', 'msgspec', 'click', 'rich', 'tblib'} & set(sys.modules)\n"
        "sys.exit(f'loaded {sorted(heavy)}' if heavy else 0)\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (0, "") == (ran.returncode, ran.stderr)


def test_all_is_sorted_and_resolves() -> None:
    """Every name that is offered can be had, and is offered in order."""
    names = streamresults.__all__

    assert sorted(names) == names
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(streamresults, name) is not None
        assert name in dir(streamresults)


def test_names_for_type_checkers_are_the_names_at_run_time() -> None:
    """What a type checker sees is where the names really come from."""
    tree = ast.parse(Path(streamresults.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module.removeprefix("streamresults.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }

    assert imported == streamresults._HOME_OF


def test_every_error_of_the_tree_is_offered() -> None:
    """Its inner nodes too: they are what one catches who does not care which of the leaves it was."""
    tree = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.StreamResultsError)
    }

    assert set() == tree - set(streamresults.__all__)


def test_what_calls_return_is_offered() -> None:
    """Whoever keeps a return value in a typed variable can name its type."""
    assert {"Flushed", "Pending", "Position", "Result", "TaskRun"} <= set(streamresults.__all__)


def test_every_error_is_drawn_in_the_tree() -> None:
    """The drawing at the top of errors.py is what people read."""
    drawn = set(re.findall(r"^[│ ├└─]*([A-Z]\w+)", str(errors.__doc__), re.MULTILINE))
    tree = {name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, Exception)}

    assert set() == tree - drawn


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for every module."""
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        streamresults.frobnicate  # noqa: B018 -- the access is the test
