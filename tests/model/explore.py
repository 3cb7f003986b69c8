"""
Searches every state that a model can reach, breadth first, so that the first thing found is the shortest.

Two questions are asked. *Safety*: is a wrong state reachable? *Liveness*: does every reachable state leave a way to a
good one that needs no fault (AG EF good)? Where every such step is taken sooner or later, that is the same as: once the
faults stop, good is reached.
"""

from __future__ import annotations

import gc
import os
import time
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

S = TypeVar("S")
#: States kept at most. A state takes about half a kilobyte: more need more memory, fewer end a search early.
CAP: Final = int(os.environ.get("STREAMRESULTS_MODEL_STATES", "3000000"))


class Step(NamedTuple, Generic[S]):
    """One thing that may happen next."""

    label: str
    state: S
    #: Nothing good may depend on it.
    fault: bool = False


class Model(Protocol[S]):
    """What is explored. States are hashable; the same state always has the same steps."""

    def initial(self) -> Iterable[S]:
        """Return where everything begins."""

    def steps(self, state: S) -> Iterable[Step[S]]:
        """Return everything that may happen next."""

    def wrong(self, state: S) -> str:
        """Say what must never be and is; empty when nothing is wrong."""

    def good(self, state: S) -> bool:
        """Tell whether everything promised has come true here."""


class Finding(NamedTuple):
    """A promise that does not hold, and the shortest way there."""

    #: ``safety`` or ``liveness``.
    kind: str
    message: str
    trace: Sequence[str]
    state: object

    def __str__(self) -> str:
        steps = "\n".join(f"      {number:2d}. {label}" for number, label in enumerate(self.trace, 1))
        return f"{self.kind}: {self.message}\n{steps}\n      state: {self.state}"


class Explored(NamedTuple):
    """What a search came to."""

    states: int
    edges: int
    seconds: float
    finding: Finding | None
    #: ``False``: the cap was reached, and what lies beyond it was not seen.
    exhaustive: bool


class _Graph(Generic[S]):
    """The states found so far, each with the one it was found from, and the steps that are no faults."""

    def __init__(self) -> None:
        self.states: Final[list[S]] = []
        self.index: Final[dict[S, int]] = {}
        self.parents: Final = array("q")
        self.sources: Final = array("I")
        self.targets: Final = array("I")
        self.edges = 0

    def add(self, state: S, parent: int) -> int:
        """Return the number of a state, a new one if it was not known."""
        number = self.index.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self.parents.append(parent)
        return number

    def path(self, number: int) -> list[int]:
        """Return the numbers of the states on the shortest way to one."""
        found = []
        while number >= 0:
            found.append(number)
            number = self.parents[number]
        return found[::-1]

    def stuck(self, goals: Iterable[int]) -> int:
        """Return the nearest state from which no goal can be reached, -1 if there is none."""
        heads, links = array("q", [-1]) * len(self.states), array("q", [-1]) * len(self.targets)
        for edge, target in enumerate(self.targets):
            links[edge], heads[target] = heads[target], edge
        reaches = bytearray(len(self.states))
        todo = list(goals)
        for number in todo:
            reaches[number] = 1
        while todo:
            edge = heads[todo.pop()]
            while edge >= 0:
                source = self.sources[edge]
                if not reaches[source]:
                    reaches[source] = 1
                    todo.append(source)
                edge = links[edge]
        return reaches.find(0)


def explore(model: Model[S], *, cap: int = CAP) -> Explored:
    """
    Search everything that a model can reach.

    Args:
        cap: End after so many states; the answer says so.
    """
    gc.disable()  # states are many and form no cycles: it would only look for some, again and again
    try:
        return _explore(model, cap)
    finally:
        gc.enable()


def _explore(model: Model[S], cap: int) -> Explored:
    began = time.monotonic()
    graph: _Graph[S] = _Graph()

    def explored(finding: Finding | None, *, exhaustive: bool = True) -> Explored:
        return Explored(len(graph.states), graph.edges, time.monotonic() - began, finding, exhaustive)

    for state in model.initial():
        graph.add(state, -1)
    for number, state in enumerate(_growing(graph.states)):
        message = model.wrong(state)
        if message:
            return explored(_finding(model, graph, number, "safety", message))
        for step in model.steps(state):
            target = graph.add(step.state, number)
            graph.edges += 1
            if not step.fault and target != number:
                graph.sources.append(number)
                graph.targets.append(target)
        if len(graph.states) > cap:
            return explored(None, exhaustive=False)
    stuck = graph.stuck(number for number, state in enumerate(graph.states) if model.good(state))
    if stuck >= 0:
        return explored(_finding(model, graph, stuck, "liveness", "no way without faults leads to the goal"))
    return explored(None)


def _growing(states: list[S]) -> Iterator[S]:
    """Iterate over a list to which is added meanwhile."""
    number = 0
    while number < len(states):
        yield states[number]
        number += 1


def _finding(model: Model[S], graph: _Graph[S], number: int, kind: str, message: str) -> Finding:
    """Return a finding; the labels on the way are made again, as keeping them would take most of the memory."""
    states = [graph.states[i] for i in graph.path(number)]
    trace = [
        next(step.label for step in model.steps(before) if step.state == after) for before, after in pairwise(states)
    ]
    return Finding(kind, message, trace, states[-1])
