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

Pieces = tuple[tuple[Hashable, int], ...]
"""Texts and how many of their first tokens, one after the other."""


@dataclass(frozen=True)
class TurnTaking:
    """`pause_s[j]`, seconds, passes between the answer to the turn before request j and request j.

    Where `users` hold the conversations, each one after another, it passes before a first turn too: since that user's
    last answer, or since time 0. Without users a first turn has an arrival time.
    """

    pause_s: NDArray[np.float64]
    users: int | None = None


@dataclass(frozen=True)
class Workload:
    """One row of `table` a request, in the order in which they are sent.

    Columns are fields of `Request`: `prompt_tokens` and `output_tokens` always, `arrival_s` (seconds, ascending) unless
    the loop is closed, others where somebody gave them. A closed loop has `users`, and `think_s[j]`, seconds, is the
    pause taken by whoever is j-th to start thinking.

    Where there is `turn_taking`, the rows are conversations, one after another: `session_id` numbers them, `turn` is
    from 1. Only first turns have an `arrival_s`; `users` and `think_s` are None, even if the loop is closed.

    Prompts have in common what they begin with. A column `block_ids` names the blocks of `block_tokens` tokens that
    each consists of (the last one perhaps in part); or it begins with `prefix_tokens` tokens of the text `prefix_id`,
    and goes on with the text `prompt_id`, or with all that was said before in its conversation.
    """

    table: pd.DataFrame
    users: int | None = None
    think_s: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    block_tokens: int | None = None
    turn_taking: TurnTaking | None = None

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
        if name == "shared_text":
            return self._shared_texts(rows)
        if name == "own_text" and self.turn_taking is not None:
            return (("conversation", number) for number in rows["session_id"].tolist())
        if name in rows:
            return iter(rows[name].tolist())
        return repeat(Request._field_defaults.get(name, float("nan")), len(rows))

    def _shared_texts(self, rows: pd.DataFrame) -> Iterator[Pieces]:
        """What prompts have in common with those of other conversations."""
        if self.block_tokens is not None:
            return map(_blocks, rows["block_ids"], rows["prompt_tokens"].tolist(), repeat(self.block_tokens))
        begins: Iterator[Pieces] = repeat((), len(rows))
        if "prefix_id" in rows:
            prefixes = zip(rows["prefix_id"].tolist(), rows["prefix_tokens"].tolist(), strict=True)
            begins = (((("prefix", number), tokens),) for number, tokens in prefixes)
        if "prompt_id" not in rows:
            return begins
        return map(_whole_prompt, begins, rows["prompt_id"].tolist(), rows["prompt_tokens"].tolist())


def _blocks(block_ids: Sequence[int], prompt_tokens: int, block_tokens: int) -> Pieces:
    """All of a prompt, block by block."""
    last_tokens = prompt_tokens - (len(block_ids) - 1) * block_tokens
    return (*((block, block_tokens) for block in block_ids[:-1]), (block_ids[-1], last_tokens))


def _whole_prompt(begins: Pieces, prompt_id: int, prompt_tokens: int) -> Pieces:
    """All of a prompt: what it begins with, and then what is said under this number."""
    return (*begins, (("prompt", prompt_id), prompt_tokens - sum(tokens for _, tokens in begins)))
