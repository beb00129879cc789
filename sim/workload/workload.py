"""All requests of a run, before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import count, repeat

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.specs.request import Request


@dataclass(frozen=True)
class Workload:
    """One row of `table` a request, in the order in which they are sent.

    Columns are fields of `Request`: `prompt_tokens` and `output_tokens` always, `arrival_s` (seconds, ascending) unless
    the loop is closed, others where somebody gave them. A closed loop has `users`, and `think_s[j]`, seconds, is the
    pause taken by whoever is j-th to start thinking.
    """

    table: pd.DataFrame
    users: int | None = None
    think_s: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Request]:
        """The requests, numbered from 0; in a closed loop their `arrival_s` is NaN until they are sent."""
        return map(Request, count(), *(self._values(field.name, field.default) for field in fields(Request)[1:]))

    def _values(self, name: str, default: object) -> Iterator[object]:
        if name in self.table:
            return iter(self.table[name].tolist())
        return repeat(float("nan") if default is MISSING else default, len(self))
