"""Operators timed on this machine's own GPU: what to time, the timer, and the table that comes of it.

`Timer` is the seam: `torch_timer` builds the real one, tests give another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from sim.errors import InputError
from sim.study.calibrate.measure.calls import Call, calls
from sim.study.calibrate.operators import COLUMNS, Tables

Timer = Callable[[Call], float | None]
"""Seconds of one call; None where the GPU has too little memory for it, or the kernel does not exist."""


def measure(timer: Timer, watch: Callable[[int, int], None] | None = None) -> Tables:
    """Time every call of the plan; `watch` hears how many are done, of how many."""
    plan = list(calls())
    rows: dict[str, list[dict[str, float | str]]] = {}
    for done, (call, seconds) in enumerate(_timed(plan, timer), start=1):
        if seconds is not None:
            rows.setdefault(call.operator, []).append({**call.row, "seconds": seconds})
        if watch is not None:
            watch(done, len(plan))
    if not rows:
        raise InputError("--measure: no call could be timed; free the GPU's memory, or use another GPU")
    return {name: pd.DataFrame(found)[[*COLUMNS[name], "seconds"]] for name, found in rows.items()}


def _timed(plan: list[Call], timer: Timer) -> Iterator[tuple[Call, float | None]]:
    for call in plan:
        yield call, timer(call)
