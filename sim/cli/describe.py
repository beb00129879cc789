"""An experiment in half a line, for titles."""

from __future__ import annotations

from sim.specs.experiment import Experiment


def describe(experiment: Experiment) -> str:
    """`llama-3.1-8b on 2 x h100-sxm`"""
    tp = experiment.engine.tensor_parallel_size
    gpus = f"{tp} x " if tp > 1 else ""
    return f"{experiment.model.name} on {gpus}{experiment.accelerator.name}"


def describe_run(experiment: Experiment) -> str:
    """`llama-3.1-8b on h100-sxm, vllm-v1, 6 requests/s`"""
    rate = experiment.workload.offered_rate
    traffic = "trace" if experiment.workload.trace else "all at once" if rate is None else f"{rate:g} requests/s"
    return f"{describe(experiment)}, {experiment.engine.preset}, {traffic}"
