"""The back-of-envelope answer: does it fit, how fast at best, how many at once, what binds. Closed form, no simulation.

Times are speed of light: datasheet peaks, nothing lost; one section says how far real kernels stay behind.
"""

from __future__ import annotations

from sim.estimate import figures
from sim.estimate.figures import Figure as Figure
from sim.estimate.machine import Case as Case
from sim.estimate.machine import Machine, peak_of

BY_KERNELS = "with kernels as fast as they were measured"
"""The section that answers what the others leave out: shares of peaks, kernels' start-up, gaps, the link."""

COMPUTE_ALONE = "from compute alone, as often quoted"
"""The section of estimates that leave memory traffic out; for comparison, not to be believed at small batches."""


def estimate(case: Case) -> list[Figure]:
    """All figures, in reading order; names are unique."""
    return [figure for section in sections(case).values() for figure in section]


def sections(case: Case) -> dict[str, list[Figure]]:
    """The figures under headings, in reading order; of a model that does not fit only what it would need.

    Raises InputError for GPUs that cannot share the model, and for an accelerator without a peak to compute it at.
    """
    machine = Machine(case)
    answer = {"machine": figures.limits(machine), "size": figures.size(machine)}
    if not machine.fits:
        return answer
    return answer | {
        "one request alone": figures.speed(machine),
        "as many as fit": figures.load(machine),
        BY_KERNELS: figures.by_kernels(machine),
        "training, cost, energy": figures.beyond(machine),
        COMPUTE_ALONE: figures.compute_alone(machine),
    }


def notes(case: Case) -> list[str]:
    """What the figures take for granted about this model and machine."""
    model, (peak_dtype, _) = case.model, peak_of(case.model, case.accelerator)
    remarks, tokens = [], case.prompt_tokens + case.output_tokens
    if tokens > model.max_position_embeddings:
        allowed = model.max_position_embeddings
        remarks.append(f"{tokens:.0f} tokens of prompt and output are beyond the {allowed} {model.name} was made for")
    if model.quantization is not None:
        remarks.append(f"{model.name}: all arithmetic is taken at the {peak_dtype} peak of {case.accelerator.name}")
    elif peak_dtype != model.dtype:
        remarks.append(f"{case.accelerator.name} has no {model.dtype} peak: the {peak_dtype} one is taken instead")
    if model.experts is not None:
        remarks.append("experts are taken to be chosen uniformly; the more uneven the router, the fewer a batch reads")
    if case.engine.speculation is not None:
        remarks.append(
            "of engine.speculation the figures count the memory of a draft model, but no draft speeds them up"
        )
    if case.engine.tensor_parallel_size > 1:
        remarks.append("at datasheet peaks, what the GPUs send one another is taken to need no time")
    return remarks
