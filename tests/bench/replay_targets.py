"""What is asked of the replayer, held against what `bench_replay_native.py` measured: its `--check`.

Each target names the tables it is looked up in, by patterns on their titles and on the names of who was measured. One that was not
measured is not met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

Figures = dict[str, float]
Tables = dict[str, dict[str, Figures]]


@dataclass(frozen=True)
class Target:
    """A bound on one figure.

    Args:
        title: Pattern of the titles of tables.
        who: Pattern of the names in them.
        figure: Which figure; its size counts, not its sign.
        most: The most it may be.
        least: The least.
        of: Pattern of whose figure it is divided by, the largest of them.
    """

    title: str
    who: str
    figure: str
    most: float = math.inf
    least: float = 0.0
    of: str = ""

    def __str__(self) -> str:
        bound = f"≤ {self.most:g}" if self.most < math.inf else f"≥ {self.least:g}"
        return f"{self.title}: {self.figure}{f' of {self.of}' if self.of else ''} {bound}"

    def values(self, tables: Tables) -> Iterator[tuple[str, float]]:
        """Where it was measured, and what came out."""
        for title, table in tables.items():
            if not re.search(self.title, title):
                continue
            others = [figures[self.figure] for name, figures in table.items() if self.of and re.search(self.of, name)]
            if self.of and not others:
                continue
            for name, figures in table.items():
                if re.fullmatch(self.who, name) and self.figure in figures:
                    yield f"{title}, {name}", abs(figures[self.figure]) / (max(others) if self.of else 1.0)

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return self.least <= value <= self.most


TARGETS = [
    *(Target("ops/s, . streams", "native|uring", f"late {name}", most) for name, most in (("p50", 10), ("p99", 50), ("p99.9", 250))),
    Target("ops/s, . streams", "native|uring", "makespan %", 0.05),
    Target("O_DIRECT 4 KiB, 20000", "uring", "late p99", 50),
    Target("bursts", "native", "excess alone 0.99", 100),
    Target("fast as possible, warm", "native, 1 streams", "kops/s", least=1.15, of="fio psync, 1 job"),
    Target("fast as possible, warm", "native, 2 streams", "kops/s", least=0.9, of="fio .* 2"),
    Target("^20000 ops/s", "native|uring", "run cpu us/op", 10),
    Target("^100000 ops/s", "native|uring", "run cpu us/op", 6),
    Target("fast as possible, warm", "native.*", "cpu us/op", 2),
    Target("memory", ".*10000000.*", "MiB above idle", 32),
    Target("recorded on cached", "replayed on cached, think", "makespan %", 1),
    Target("recorded on direct", "replayed on direct, think", "makespan %", 1),
    *(
        Target(f"recorded on {one}", f"replayed on {other}, think", figure, 10)
        for one, other in (("cached", "direct"), ("direct", "cached"))
        for figure in ("makespan %", "depth %")
    ),
]  # fmt: skip


def report(tables: Tables, targets: list[Target] | None = None) -> bool:
    """Print a line for each target; whether all are met."""
    fine = True
    for target in TARGETS if targets is None else targets:
        values = list(target.values(tables))
        met = bool(values) and all(target.met(value) for _, value in values)
        fine = fine and met
        print(f"{'met   ' if met else 'MISSED'} {target}" + ("" if values else ": not measured"))
        for where, value in values:
            print(f"         {value:.4g}{'' if target.met(value) else '  <--'}  {where}")
    return fine
