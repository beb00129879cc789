"""Tables under construction: one typed array a column. The column names are an interface, written down only here."""

from __future__ import annotations

from array import array
from typing import Any

REQUEST_COLUMNS = {
    "request_id": "q",
    "arrival_s": "d",
    "queued_s": "d",
    "scheduled_s": "d",
    "first_token_s": "d",
    "finish_s": "d",
    "prompt_tokens": "q",
    "cached_tokens": "q",
    "output_tokens": "q",
    "preemptions": "q",
    "session_id": "q",
}
"""One row per finished request. `queued_s`: the engine read the request; `scheduled_s`: it was
first in an iteration; `finish_s`: its answer was complete; `session_id` is -1 for a request of no session."""

ITERATION_COLUMNS = {
    "start_s": "d",
    "iterations": "q",
    "first_step_s": "d",
    "step_increment_s": "d",
    "decode_requests": "q",
    "decode_context_tokens": "q",
    "prefill_tokens": "q",
    "running": "q",
    "waiting": "q",
    "kv_used_blocks": "q",
    "preemptions": "q",
}
"""One row per run of like iterations: the first takes `first_step_s`, each one after it `step_increment_s` longer."""

GAP_COLUMNS = {"gap_s": "d", "tokens": "q", "end_s": "d"}
"""Time between successive tokens of a request: `tokens` gaps of `gap_s` each, which ended at `end_s`."""


class Columns:
    """A growing table; `kinds` maps column names to array type codes."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.arrays: dict[str, array[Any]] = {name: array(kind) for name, kind in kinds.items()}
        self._columns = tuple(self.arrays.values())

    def append(self, *row: float) -> None:
        """Add a row, values in column order."""
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def __len__(self) -> int:
        return len(self._columns[0])
