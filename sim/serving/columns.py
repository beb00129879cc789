"""Tables under construction: one typed array a column. The column names are an interface, written down only here."""

from __future__ import annotations

import struct
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITERATION_COLUMNS = {
    "start_s": "d",
    "iterations": "i",
    "first_step_s": "d",
    "step_increment_s": "d",
    "decode_requests": "i",
    "decode_context_tokens": "q",
    "prefill_requests": "i",
    "prefill_tokens": "i",
    "prefill_pairs": "q",
    "prefill_context_tokens": "q",
    "prefill_tiles": "i",
    "prefill_tile_keys": "q",
    "longest_context_tokens": "i",
    "padding_tokens": "i",
    "padding_requests": "i",
    "running": "i",
    "waiting": "i",
    "idle_slots": "i",
    "kv_used_blocks": "i",
    "kv_grown_blocks": "i",
    "kv_grown_block_s": "d",
    "kv_stored_tokens": "q",
    "preemptions": "i",
    "blocked_by": "b",
}
"""One row per run of like iterations: the first takes `first_step_s`, each one after it `step_increment_s` longer.

`decode_*` and `prefill_*` are the first iteration's batch as executed (`sim.cost.batch.Batch`), of whose tokens
`padding_tokens` were asked for by nobody, among them one for each of the `padding_requests`, which are decodes.
`kv_used_blocks` and `kv_stored_tokens` are those of the first iteration; `kv_grown_blocks` are added by the last, and
held for `kv_grown_block_s` block-seconds in all."""

DRAFT_COLUMNS = {"draft_tokens": "i", "draft_pairs": "q", "accepted_tokens": "i"}
"""Of an engine that speculates, besides: drafts that were verified, the keys they saw, and those that were right."""

SWAP_COLUMNS = {"swapped_blocks": "i"}
"""Of an engine that swaps, besides: blocks copied to the host or back before the iteration."""

GAP_COLUMNS = {"request_id": "q", "tokens": "i", "gap_s": "d", "end_s": "d", "run": "q"}
"""Tokens that came later than an iteration after the one before: of preempted requests and of decodes left out.

`run` is the row of the iteration that decoded it, -1 where it came of a recomputed prompt. The `tokens` of all who
decoded before prompts had the engine to themselves are one row, of `ANYBODY`."""

ANYBODY = -1

UNSERVED_COLUMNS = {"request_id": "q", "arrival_s": "d", "left_s": "d"}
"""Requests that were refused when they came, or left later without having been scheduled."""

ROWS_IN_HAND = 4096


class Columns:
    """A growing table; `kinds` maps column names to struct codes. Rows are packed, and unpacked by the thousand."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds
        self._pack = struct.Struct("=" + "".join(kinds.values())).pack
        self._dtype = np.dtype(list(kinds.items()))
        self._in_hand = bytearray()
        self._most_in_hand = ROWS_IN_HAND * self._dtype.itemsize
        self._columns: dict[str, array[Any]] = {name: array(kind) for name, kind in kinds.items()}

    def append(self, *row: float) -> None:
        """Add a row, values in column order."""
        self._in_hand += self._pack(*row)
        if len(self._in_hand) >= self._most_in_hand:
            self._unpack()

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()))) + len(self._in_hand) // self._dtype.itemsize

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns so far, without a copy; nothing may be appended while they are in use."""
        self._unpack()
        return {name: np.frombuffer(column, dtype=self._dtype[name]) for name, column in self._columns.items()}

    def _unpack(self) -> None:
        rows = np.frombuffer(bytes(self._in_hand), dtype=self._dtype)
        for name, column in self._columns.items():
            column.frombytes(np.ascontiguousarray(rows[name]).tobytes())
        self._in_hand.clear()


class RequestTimes:
    """When what happened to each request, by request id; NaN is not yet. Seconds."""

    NAMES = ("arrival_s", "queued_s", "scheduled_s", "first_token_s", "finish_s")
    COUNTS = ("cached_tokens", "output_tokens", "preemptions", "session_id")

    def __init__(self) -> None:
        self.rows = 0
        self.arrival_s, self.queued_s, self.scheduled_s, self.first_token_s, self.finish_s = (
            array("d") for _ in self.NAMES
        )
        self.cached_tokens, self.output_tokens, self.preemptions, self.session_id = (array("i") for _ in self.COUNTS)

    def make_room(self, request_id: int) -> None:
        """Rows up to `request_id`, and some more."""
        more = request_id + ROWS_IN_HAND - self.rows
        self.rows += more
        for name in self.NAMES:
            getattr(self, name).extend(array("d", [float("nan")]) * more)
        for name in self.COUNTS:
            getattr(self, name).extend(array("i", [-1]) * more)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns, with rows of requests that have not come."""
        return {
            name: np.frombuffer(getattr(self, name), dtype=getattr(self, name).typecode)
            for name in (*self.NAMES, *self.COUNTS)
        }
