"""The joint shape of a real trace's prompt and output lengths, as a small quantile table.

A shape holds the prompt length at 1001 evenly spaced quantiles and, for each of 20 equal shares of the requests ordered
by prompt length, the output length at 101 evenly spaced quantiles. Sampling inverts both by linear interpolation, so
both marginals and the dependence of the output on the prompt follow the trace. The shipped tables were made by
`fit_shape` on the public traces (their source is in each file); a test refits and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.specs.yaml_file import parse_yaml

PROMPT_QUANTILES, PROMPT_SHARES, OUTPUT_QUANTILES = 1001, 20, 101


@dataclass(frozen=True)
class LengthShape:
    """`prompt_quantiles` has shape (1001,), `output_quantiles` (20, 101); tokens."""

    prompt_quantiles: NDArray[np.float64]
    output_quantiles: NDArray[np.float64]

    def sample(
        self, count: int, prompt_random: np.random.Generator, output_random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`count` pairs of prompt and output tokens, one uniform draw each."""
        prompt_level, output_level = prompt_random.random(count), output_random.random(count)
        prompts = _invert(self.prompt_quantiles[None, :], np.zeros(count, dtype=np.int64), prompt_level)
        share = (prompt_level * len(self.output_quantiles)).astype(np.int64)
        return prompts, _invert(self.output_quantiles, share, output_level)


def fit_shape(prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> LengthShape:
    """The shape of a trace; ties in prompt length are ordered by output length, so the fit is unique."""
    prompts, outputs = np.asarray(prompt_tokens, dtype=float), np.asarray(output_tokens, dtype=float)
    order = np.lexsort((outputs, prompts))
    shares = np.array_split(outputs[order], PROMPT_SHARES)
    levels = np.linspace(0, 1, OUTPUT_QUANTILES)
    return LengthShape(
        prompt_quantiles=np.rint(np.quantile(prompts, np.linspace(0, 1, PROMPT_QUANTILES))),
        output_quantiles=np.rint([np.quantile(share, levels) for share in shares]),
    )


@cache
def load_shape(name: str) -> LengthShape:
    """The shipped shape `name`."""
    text = resources.files("sim.workload").joinpath("shapes", f"{name}.yaml").read_text(encoding="utf-8")
    table = parse_yaml(text, f"{name}.yaml")
    return LengthShape(np.array(table["prompt_quantiles"], float), np.array(table["output_quantiles"], float))


def _invert(quantiles: NDArray[np.float64], row: NDArray[np.int64], level: NDArray[np.float64]) -> NDArray[np.int64]:
    """The value at `level` in [0, 1) of the quantile table's `row`, linearly interpolated, rounded to whole tokens."""
    position = level * (quantiles.shape[1] - 1)
    low = position.astype(np.int64)
    weight = position - low
    values = quantiles[row, low] * (1 - weight) + quantiles[row, low + 1] * weight
    tokens: NDArray[np.int64] = np.maximum(np.rint(values), 1).astype(np.int64)
    return tokens
