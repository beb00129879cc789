"""Choosing the next token of every sequence of the batch, partial prompts included: t = 25 us + 0.7 us n."""

from __future__ import annotations

from typing import Any


def sampler_s(sequences: Any, start_s: float, row_s: float) -> Any:
    """The formula above."""
    return start_s + row_s * sequences
