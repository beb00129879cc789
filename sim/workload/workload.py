"""All requests of a run, before it starts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.specs.request import Request

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Workload:
    """One row of `table` a request, in the order in which they are sent.

    Columns are fields of `Request`: `prompt_tokens` and `output_tokens` always, `arrival_s` (seconds, ascending) unless
    the loop is closed, others where somebody gave them. A closed loop has `users`, and `think_s[j]`, seconds, is the
    pause taken by whoever is j-th to start thinking. Where a column `block_ids` names the blocks of `block_tokens`
    tokens that each prompt consists of (the last one perhaps in part), prompts share what they begin with.
    """

    table: pd.DataFrame
    users: int | None = None
    think_s: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    block_tokens: int | None = None

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Request]:
        """The requests, numbered from 0; in a closed loop their `arrival_s` is NaN until they are sent."""
        return chain.from_iterable(map(self._some, range(0, len(self), ROWS_AT_ONCE)))

    def _some(self, first: int) -> Iterator[Request]:
        """The requests of some rows, `first` the first: as Python's numbers they take more memory than in the table."""
        rows = self.table.iloc[first : first + ROWS_AT_ONCE]
        return map(Request, count(first), *(self._values(rows, name) for name in Request._fields[1:]))

    def _values(self, rows: pd.DataFrame, name: str) -> Iterator[object]:
        if name == "shared_text" and self.block_tokens is not None:
            return map(self._shared_text, rows["block_ids"], rows["prompt_tokens"])
        if name in rows:
            return iter(rows[name].tolist())
        return repeat(Request._field_defaults.get(name, float("nan")), len(rows))

    def _shared_text(self, block_ids: Sequence[int], prompt_tokens: int) -> tuple[tuple[Hashable, int], ...]:
        """All of a prompt, block by block."""
        assert self.block_tokens is not None
        last_tokens = prompt_tokens - (len(block_ids) - 1) * self.block_tokens
        return (*((block, self.block_tokens) for block in block_ids[:-1]), (block_ids[-1], last_tokens))
