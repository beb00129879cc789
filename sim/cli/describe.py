"""An experiment in half a line, for titles."""

from __future__ import annotations

from sim.estimate import Case
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment
from sim.specs.workload import AllAtOnce, ClosedLoop, DiurnalArrivals, PiecewiseArrivals, WorkloadSpec


def describe(setup: Experiment | Case) -> str:
    """`llama-3.1-8b on 2 x h100-sxm`"""
    tp = setup.engine.tensor_parallel_size
    gpus = f"{tp} x " if tp > 1 else ""
    return f"{setup.model.name} on {gpus}{setup.accelerator.name}"


def describe_run(experiment: Experiment) -> str:
    """`llama-3.1-8b on h100-sxm, vllm-v1, 6 requests/s`"""
    return f"{describe(experiment)}, {experiment.engine.preset}, {traffic(experiment.workload)}"


def rate_unit(workload: WorkloadSpec) -> str:
    """What an arrival rate counts."""
    return "requests/s" if workload.conversations is None else "conversations/s"


def prompts_and_decodes(engine: EngineSpec) -> str:
    """How prompts are computed where others decode."""
    if engine.formation == "drain_then_fill":
        return "a batch runs to its end"
    if engine.composition not in ("mixed", "decodes_first") and not engine.decodes_ride_along:
        return "prompts alone, decodes wait"
    return f"{'chunks of prompts' if engine.enable_chunked_prefill else 'whole prompts'} beside decodes"


def traffic(workload: WorkloadSpec) -> str:
    """`6 requests/s`"""
    unit = rate_unit(workload)
    match workload.arrivals:
        case None:
            return "trace"
        case AllAtOnce():
            return "all at once"
        case PiecewiseArrivals(rates=rates):
            low, high = (pick(segment.rate for segment in rates) for pick in (min, max))
            return f"{low:g} to {high:g} {unit}"
        case DiurnalArrivals(mean_rate=mean, amplitude=amplitude):
            return f"{mean:g} ± {mean * amplitude:g} {unit}"
        case ClosedLoop(users=users):
            return f"{users} users"
        case steady:
            return f"{steady.rate:g} {unit}"
