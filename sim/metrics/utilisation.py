"""How much of the hardware a run used, and what that cost."""

from __future__ import annotations

from sim.metrics.ratio import ratio
from sim.metrics.runs import Spent
from sim.specs.cost import KernelsCost, RooflineCost
from sim.specs.experiment import Experiment

JOULES_PER_KWH = 3.6e6


def utilisation(experiment: Experiment, spent: Spent, busy_s: float, duration_s: float) -> dict[str, float | None]:
    """Arithmetic and memory traffic as executed, on each GPU, and their shares of the datasheet peaks.

    `mfu` and `mbu` (model FLOPs and model bandwidth utilisation) are over the whole run, `busy_mfu` and `busy_mbu` over
    the time in which iterations ran. The peak is dense, of the type the model computes in. Padding and recomputation
    count: the hardware does them too. All None unless the cost model counts FLOPs, as kernels and roofline do.
    """
    accelerator = experiment.accelerator
    if not isinstance(experiment.cost, KernelsCost | RooflineCost):
        return dict.fromkeys(("flops_per_gpu", "memory_bytes_per_gpu", "mfu", "mbu", "busy_mfu", "busy_mbu"))
    compute_s = spent.flops / accelerator.peak_flop_per_s[experiment.model.dtype]
    memory_s = spent.memory_bytes / accelerator.memory_bytes_per_s
    return {
        "flops_per_gpu": spent.flops,
        "memory_bytes_per_gpu": spent.memory_bytes,
        "mfu": ratio(compute_s, duration_s),
        "mbu": ratio(memory_s, duration_s),
        "busy_mfu": ratio(compute_s, busy_s),
        "busy_mbu": ratio(memory_s, busy_s),
    }


def cost(experiment: Experiment, output_tokens: int, duration_s: float) -> dict[str, float | None]:
    """Price (in the currency of `price_per_hour`) and energy (kWh) of a million output tokens.

    All GPUs are paid and powered for the whole run, idle or not: the energy is that of running at `power_w`, an upper
    bound. None where the accelerator does not say.
    """
    gpu_s, millions = experiment.engine.tensor_parallel_size * duration_s, output_tokens / 1e6
    price, power_w = experiment.accelerator.price_per_hour, experiment.accelerator.power_w
    return {
        "cost_per_million_tokens": None if price is None else ratio(gpu_s * price / 3600, millions),
        "energy_per_million_tokens": None if power_w is None else ratio(gpu_s * power_w / JOULES_PER_KWH, millions),
    }
