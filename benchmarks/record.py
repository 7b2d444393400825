"""Results of benchmarks as tables of ratios, and fair timing."""

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
        """Return the table as Markdown."""
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
    """Return a number as text with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def seconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """Return the median wall time of several runs in s, with the garbage collector off."""
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
    """Return the shortest wall time of each task; tasks alternate, so that a busy machine slows all of them."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for times, work in zip(taken, works, strict=True):
            times.append(seconds(work, 1))
    return [min(times) for times in taken]


def least_cpu(*works: Callable[[], Any], repeat: int = 9) -> list[float]:
    """Return the least CPU time of each alternating task in s; other programs hardly affect it."""
    best = [float("inf")] * len(works)
    for _ in range(repeat):
        for place, work in enumerate(works):
            start = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - start)
    return best
