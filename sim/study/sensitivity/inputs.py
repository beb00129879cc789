"""The numbers that an experiment depends on, and the same experiment with one of them a little larger or smaller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.config import experiment_from
from sim.errors import InputError, did_you_mean
from sim.specs.cost import PHYSICAL
from sim.specs.experiment import Experiment

SECTIONS = ("accelerator", "cost", "engine", "workload")
"""Of a config, those that have inputs; what an engine's model is, is no question of a little more or less."""

DIVIDES_MEMORY = (
    "accelerator.memory_bytes", "engine.gpu_memory_utilization", "engine.block_size", "engine.tensor_parallel_size",
)  # fmt: skip
"""Numbers that do so before anything runs; of them only engine.num_gpu_blocks is left to vary."""

LENGTHS = ("value", "mean")
"""The numbers of a length distribution that say how long."""


@dataclass(frozen=True)
class Input:
    """The number at `key` in the config, and the experiments with a `lower` and a `higher` one in its place."""

    key: str
    value: float
    lower_value: float
    higher_value: float
    lower: Experiment
    higher: Experiment

    @property
    def label(self) -> str:
        """The key without its section, which the rest tells."""
        return self.key.partition(".")[2]


def numbers(experiment: Experiment) -> dict[str, float]:
    """By key, such as `workload.arrivals.rate`, every number above 0 of the resolved config that can be varied."""
    resolved = experiment.resolved()
    return {
        ".".join(path): value
        for section in SECTIONS
        for path, value in _leaves((section,), resolved[section])
        if value > 0
    }


def usual_inputs(experiment: Experiment) -> list[str]:
    """Load, lengths, what the device gives and the engine's limits: as far as the experiment has them."""
    model, engine = experiment.model, experiment.engine
    wanted = [
        "workload.arrivals.rate",
        *(f"workload.lengths.{part}.{word}" for part in ("prompt", "output") for word in LENGTHS),
    ]
    if experiment.cost.kind in PHYSICAL:
        wanted += ["accelerator.memory_bytes_per_s", f"accelerator.peak_flop_per_s.{model.dtype}"]
        if engine.tensor_parallel_size > 1:
            wanted.append("accelerator.link_bytes_per_s")
    there = numbers(experiment)
    if experiment.cost.kind == "kernels":
        wanted += ["accelerator.kernels.gap_s"] + ["cost.expert_imbalance"] * (model.experts is not None)
    else:
        wanted += [key for key in there if key.startswith("cost.")]
    wanted += [f"engine.{name}" for name in ("num_gpu_blocks", "max_num_batched_tokens", "max_num_seqs")]
    return [key for key in wanted if key in there]


def varied(experiment: Experiment, key: str, step: float) -> Input:
    """The input at `key`, by the share `step` lower and higher; whole numbers move by one at least.

    Raises InputError where the experiment has no such number, or cannot have it otherwise.
    """
    there = numbers(experiment)
    if key in DIVIDES_MEMORY:
        raise InputError(
            f"inputs: {key} decides how many KV blocks there are before anything runs; vary engine.num_gpu_blocks "
            "instead, or compare configs with other values"
        )
    if key not in there:
        raise InputError(f"inputs: unknown number '{key}'; {did_you_mean(key, there)}")
    value = there[key]
    lower_value, higher_value = value / (1 + step), value * (1 + step)
    if isinstance(value, int):
        lower_value, higher_value = min(round(lower_value), value - 1), max(round(higher_value), value + 1)
    lower, higher = (_with(experiment, key, changed) for changed in (lower_value, higher_value))
    return Input(key, value, lower_value, higher_value, lower, higher)


def _with(experiment: Experiment, key: str, value: float) -> Experiment:
    changed = experiment.resolved()
    *sections, leaf = key.split(".")
    place: Any = changed
    for section in sections:
        place = place[section]
    place[leaf] = value
    try:
        return experiment_from(changed)
    except InputError as error:
        raise InputError(f"inputs: {key} cannot be {value:g}: {error}; leave it out, or take another step") from None


def _leaves(path: Sequence[str], value: Any) -> Iterator[tuple[Sequence[str], float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves((*path, str(name)), inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
