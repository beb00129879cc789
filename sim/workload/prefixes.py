"""What generated prompts have in common: system prompts, and prompts that come again word for word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.engine import EngineSpec
from sim.specs.workload import SharedPrefix
from sim.streams import stream
from sim.workload.lengths import allowed_or_shorten, draw_tokens

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Prefixes:
    """The prefix that each prompt begins with, `chosen` from 0, and its `tokens`; `longest_tokens` of all there are."""

    chosen: IntArray
    tokens: IntArray
    longest_tokens: int

    def take(self, rows: IntArray) -> Prefixes:
        """Those of `rows`."""
        return Prefixes(self.chosen[rows], self.tokens[rows], self.longest_tokens)


def draw_prefixes(spec: SharedPrefix | None, count: int, engine: EngineSpec, seed: int) -> Prefixes:
    """Prefixes of `count` prompts; of 0 tokens where none is asked for. Raises InputError for one that is too long."""
    if spec is None:
        nothing = np.broadcast_to(np.int64(0), count)
        return Prefixes(nothing, nothing, 0)
    lengths = draw_tokens(spec.tokens, spec.num_prefixes, stream(seed, "prefix_lengths"))
    longest = int(lengths.max())
    if longest + 2 > engine.longest_sequence_tokens:
        raise InputError(
            f"workload.shared_prefix.tokens: a prefix of {longest} tokens leaves no room for a prompt and its answer "
            f"in the {allowed_or_shorten(engine, 'the prefix')}"
        )
    shares = np.cumsum(np.arange(1, spec.num_prefixes + 1, dtype=float) ** -spec.zipf_exponent)
    levels = stream(seed, "prefixes").random(count) * shares[-1]
    chosen = np.minimum(np.searchsorted(shares, levels, side="right"), spec.num_prefixes - 1)
    return Prefixes(chosen, lengths[chosen], longest)


def draw_originals(probability: float, count: int, seed: int) -> IntArray:
    """For each of `count` prompts in order the row of the one that it repeats, or its own.

    It repeats with `probability`, and then any of the different prompts before it, each as likely.
    """
    is_new = stream(seed, "repeats").random(count) >= probability
    is_new[0] = True
    seen_before: IntArray = np.cumsum(is_new) - is_new
    picked = stream(seed, "repeated").integers(np.maximum(seen_before, 1))
    originals: IntArray = np.where(is_new, np.arange(count), np.flatnonzero(is_new)[picked])
    return originals
