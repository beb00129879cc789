"""The cost model's constants as uncertain as they are: drawn within their stated error."""

from __future__ import annotations

import math

from sim.specs.experiment import Experiment
from sim.streams import stream

SHARES = ("gemm_compute", "gemm_memory", "attention_compute", "attention_memory", "link")


def drawn(experiment: Experiment) -> Experiment:
    """The experiment with every efficiency off by a lognormal factor of its own, the same for the same seed.

    Their logarithms have the standard deviation `accelerator.efficiency.error`; nothing reaches more than the peak.
    """
    accelerator = experiment.accelerator
    efficiency = accelerator.efficiency
    normal = stream(experiment.seed, "cost model error").standard_normal(len(SHARES))
    shares = {
        name: min(getattr(efficiency, name) * math.exp(efficiency.error * float(draw)), 1.0)
        for name, draw in zip(SHARES, normal, strict=True)
    }
    wrong = accelerator.model_copy(update={"efficiency": efficiency.model_copy(update=shares)})
    return experiment.model_copy(update={"accelerator": wrong})
