"""What a benchmark gives: a table of ratios, and how to time things fairly."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Result:
    """A table for docs/benchmarks.md."""

    title: str
    text: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f"## {self.title}",
            "",
            self.text,
            "",
            f"| {' | '.join(self.columns)} |",
            "|---" * len(self.columns) + "|",
        ]
        lines += [f"| {' | '.join(shown(cell) for cell in row)} |" for row in self.rows]
        return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A number with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def seconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """Median wall time of several runs, in s, the garbage collector held back."""
    taken = []
    for _ in range(repeat):
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
        gc.enable()
    return statistics.median(taken)


def alternating(*works: Callable[[], Any], repeat: int = 7) -> list[float]:
    """Shortest wall time of each of several works, run in turn so that a busy machine slows all alike."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for times, work in zip(taken, works, strict=True):
            times.append(seconds(work, 1))
    return [min(times) for times in taken]


def least_cpu(*works: Callable[[], Any], repeat: int = 9) -> list[float]:
    """Least CPU time of each of several works run in turn, in s: what else the machine does hardly shows in it."""
    best = [float("inf")] * len(works)
    for _ in range(repeat):
        for place, work in enumerate(works):
            start = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - start)
    return best
