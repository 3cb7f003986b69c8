"""A process of one's own, so that what is measured shares no interpreter with what measures; it answers by lines."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Self

from benchmarks.bench import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


#: Seconds for a process to end once its standard input has; then it is killed.
_ENDS_WITHIN: Final = 30.0


class ChildProcess:
    """
    Runs a module of the benchmarks; leaving ends it, by the end of its standard input.

    Args:
        arguments: Of its command line.
        interpreter: Another Python than this one's.
    """

    def __init__(self, module: str, *arguments: str, interpreter: str = sys.executable) -> None:
        self._module = module
        command = [interpreter, "-m", f"benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        #: When each line first came, by ``perf_counter``.
        self.moments: dict[str, float] = {}
        #: ``None``: its output has ended.
        self._lines: SimpleQueue[tuple[str, float] | None] = SimpleQueue()
        Thread(target=self._collect, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # who waits for the answer is told that the process has ended
            self._process.stdin.write(f"{line}\n")

    def await_line(self, wanted: Callable[[str], bool], seconds: float) -> tuple[str, float]:
        """Block until a wanted line comes; return it and when it came, by ``perf_counter``. Others are dropped."""
        until = time.monotonic() + seconds
        while True:
            try:
                found = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                msg = f"the process of {self._module} did not answer in {seconds:g} s"
                raise RuntimeError(msg) from None
            if found is None:
                msg = f"the process of {self._module} has ended"
                raise RuntimeError(msg)
            if wanted(found[0]):
                return found

    def answer(self, question: str, seconds: float) -> str:
        """Ask, and return what the answer says behind the question's word."""
        self.tell(question)
        word = question.split(maxsplit=1)[0]
        return self.await_line(lambda line: line.startswith(f"{word} "), seconds)[0].removeprefix(f"{word} ")

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in map(str.strip, self._process.stdout):
            moment = time.perf_counter()
            self.moments.setdefault(line, moment)
            self._lines.put((line, moment))
        self._lines.put(None)
