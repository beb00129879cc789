"""The cost model's constants as uncertain as they are: drawn within their stated errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from sim.specs.accelerator import AcceleratorSpec
from sim.specs.base import Spec
from sim.specs.experiment import Experiment
from sim.streams import stream

SpecT = TypeVar("SpecT", bound=Spec)

SHARES = ("gemm_compute", "gemm_memory", "attention_compute", "attention_memory", "link")
CHOICES = ("query_tile_tokens", "packs_decode_rows", "multiprocessors", "standard_errors", "source", "clock", "power")
"""Of the kernels' constants, those that are no measurement; the clock has an error only where one is named."""


def drawn(experiment: Experiment, draw: int | None = None) -> Experiment:
    """The experiment with every constant off by a lognormal factor of its own: another for every `draw`.

    Without one, it goes by the seed. Logarithms have the standard deviation that `accelerator.kernels.standard_errors`
    names, else `accelerator.efficiency.error`; nothing goes beyond what a description may hold, such as the peak.
    """
    accelerator = experiment.accelerator
    efficiency, kernels = accelerator.efficiency, accelerator.kernels
    random = stream(experiment.seed if draw is None else draw, "cost model error")
    shares = {name: _times(efficiency, name, _factor(accelerator, name, random)) for name in SHARES}
    update: dict[str, Any] = {"efficiency": efficiency.model_copy(update=shares)}
    if experiment.cost.kind == "kernels":
        update["kernels"] = _drawn(kernels, "", lambda name: _factor(accelerator, name, random))
    return experiment.model_copy(update={"accelerator": accelerator.model_copy(update=update)})


def _factor(accelerator: AcceleratorSpec, name: str, random: Any) -> float:
    error = accelerator.kernels.standard_errors.get(name, accelerator.efficiency.error)
    return math.exp(error * float(random.standard_normal()))


def _drawn(section: SpecT, place: str, factor: Callable[[str], float]) -> SpecT:
    """A section with every constant of it, and below it, times the `factor` of its dotted name."""
    update: dict[str, Any] = {}
    named = getattr(section, "standard_errors", ())
    for key, value in section:
        name = f"{place}{key}"
        if isinstance(value, Spec):
            update[key] = _drawn(value, f"{name}.", factor)
        elif isinstance(value, dict) and key not in CHOICES:
            update[key] = {of: _drawn(one, f"{name}.{of}.", factor) for of, one in value.items()}
        elif isinstance(value, float) and (key not in CHOICES or key in named):
            update[key] = _times(section, key, factor(name))
    return section.model_copy(update=update)


def _times(section: Spec, key: str, factor: float) -> float:
    """A constant times a factor, within its bounds."""
    value: float = getattr(section, key)
    least, most = -math.inf, math.inf
    for bound in type(section).model_fields[key].metadata:
        least, most = getattr(bound, "ge", least), getattr(bound, "le", most)
    return min(max(value * factor, least), most)
