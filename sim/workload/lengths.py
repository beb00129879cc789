"""Prompt and output lengths: from a config's distributions to whole tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.distributions import (
    DurationDistribution,
    ExponentialDuration,
    FixedDuration,
    FixedTokens,
    GeometricTokens,
    LengthDistribution,
    LognormalDuration,
    LognormalTokens,
    UniformTokens,
)
from sim.specs.engine import EngineSpec
from sim.specs.workload import IndependentLengths, JointLengths, Lengths, ShareGptLengths
from sim.streams import stream
from sim.workload.shape import load_shape
from sim.workload.sharegpt import read_conversations

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Sampler = Callable[[int, np.random.Generator, np.random.Generator], tuple[IntArray, IntArray]]
"""From a count, a stream for prompts and one for outputs to that many pairs of lengths."""
MAX_REDRAWS = 200
LONGEST = 2**40
"""Draws are cut here, far beyond any sequence, so that sums of lengths stay whole numbers of 64 bits."""


def draw_lengths(
    lengths: Lengths,
    count: int,
    engine: EngineSpec,
    seed: int,
    max_new_tokens: int | None = None,
    prefix_tokens: int = 0,
) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """`count` prompt and output lengths, and notes on how they came about.

    Outputs end at `max_new_tokens`. A pair whose sum exceeds what `prefix_tokens` leave of the engine's longest
    sequence is drawn again, so the law is the config's, conditioned on fitting. Raises InputError when the distribution
    hardly ever fits.
    """
    limit_tokens = engine.longest_sequence_tokens - prefix_tokens
    sample, notes = _sampler(lengths)
    if max_new_tokens is not None:
        sample = _limited(sample, max_new_tokens)
    prompts, outputs = _draw(sample, count, seed, "")
    too_long = np.flatnonzero(prompts + outputs > limit_tokens)
    if len(too_long):
        exceeded = f"{len(too_long)} of {count} length pairs exceeded {limit_tokens} tokens"
        notes = (*notes, f"{exceeded} and were drawn again, until they fitted")
    for attempt in range(MAX_REDRAWS):
        if not len(too_long):
            return prompts, outputs, notes
        prompts[too_long], outputs[too_long] = _draw(sample, len(too_long), seed, f"_redraw_{attempt}")
        too_long = too_long[prompts[too_long] + outputs[too_long] > limit_tokens]
    longest = int((prompts + outputs).max())
    after = f", {prefix_tokens} of them in a shared prefix" if prefix_tokens else ""
    raise InputError(
        f"workload.lengths: prompt plus output of {longest + prefix_tokens} tokens{after} exceed the "
        f"{allowed_or_shorten(engine, 'the lengths')}"
    )


def longest_sequence(engine: EngineSpec) -> str:
    """What limits a sequence, with its value: `engine.max_model_len 8192`."""
    binding = _longest_by(engine)
    return f"engine.{binding} {getattr(engine, binding)}"


def allowed_or_shorten(engine: EngineSpec, what: str) -> str:
    """The end of a message about a sequence that is too long: what is allowed, and the remedy.

    Blocks follow from a share of memory unless they are given.
    """
    binding, tokens = _longest_by(engine), engine.longest_sequence_tokens
    remedy = f"raise engine.{binding}" + (", or gpu_memory_utilization" if binding == "num_gpu_blocks" else "")
    return f"{tokens} tokens that {longest_sequence(engine)} allows one request; shorten {what} or {remedy}"


def _longest_by(engine: EngineSpec) -> str:
    """The key that limits a sequence."""
    return "max_model_len" if engine.longest_sequence_tokens == engine.max_model_len else "num_gpu_blocks"


def _sampler(lengths: Lengths) -> tuple[Sampler, tuple[str, ...]]:
    """What draws prompts and outputs by the config's distributions, and notes on it."""
    match lengths:
        case JointLengths():
            return load_shape(lengths.distribution).sample, ()
        case ShareGptLengths():
            conversations = read_conversations(Path(lengths.path), lengths.characters_per_token)
            return conversations.sample, (conversations.note,)
        case IndependentLengths():
            return lambda count, prompt_stream, output_stream: (
                draw_tokens(lengths.prompt, count, prompt_stream),
                draw_tokens(lengths.output, count, output_stream),
            ), ()


def _limited(sample: Sampler, max_new_tokens: int) -> Sampler:
    """The same draws with outputs cut."""

    def limited(count: int, *streams: np.random.Generator) -> tuple[IntArray, IntArray]:
        prompts, outputs = sample(count, *streams)
        return prompts, np.minimum(outputs, max_new_tokens)

    return limited


def _draw(sample: Sampler, count: int, seed: int, suffix: str) -> tuple[IntArray, IntArray]:
    return sample(count, stream(seed, f"prompt_lengths{suffix}"), stream(seed, f"output_lengths{suffix}"))


def draw_tokens(spec: LengthDistribution, count: int, random: np.random.Generator) -> IntArray:
    """`count` token counts, each at least 1."""
    match spec:
        case FixedTokens():
            return np.full(count, spec.value, dtype=np.int64)
        case UniformTokens():
            return random.integers(spec.low, spec.high, size=count, endpoint=True)
        case GeometricTokens():
            return np.minimum(random.geometric(1 / spec.mean, size=count), LONGEST)
        case LognormalTokens():
            drawn = lognormal(spec.mean, spec.cv, count, random)
            return np.clip(np.rint(drawn), 1, LONGEST).astype(np.int64)


def draw_durations(spec: DurationDistribution, count: int, random: np.random.Generator) -> FloatArray:
    """`count` durations in seconds."""
    match spec:
        case FixedDuration():
            return np.full(count, spec.value)
        case ExponentialDuration():
            return random.exponential(spec.mean, size=count)
        case LognormalDuration():
            return lognormal(spec.mean, spec.cv, count, random)


def lognormal(mean: float, cv: float, count: int, random: np.random.Generator) -> FloatArray:
    """Lognormal by its own mean and coefficient of variation: sigma² = ln(1 + cv²), mu = ln(mean) - sigma²/2."""
    variance = np.log1p(cv * cv)
    return random.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), size=count)
