"""Iterations as the cost model takes them: how far real kernels stay behind the datasheet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sim.cost.batch import RESOURCE_NAMES, Batch, Bound, tiles_of
from sim.cost.kernel_model import KernelModel
from sim.estimate.machine import Machine
from sim.formulas import pairs
from sim.specs.cost import KernelsCost

Spent = dict[str, dict[Bound, float]]
"""Seconds by operation group and resource."""


@dataclass(frozen=True)
class Steps:
    """Iterations of the machine: `prefill_s` of a whole prompt, `decode_s` of a batch in the middle of its outputs."""

    machine: Machine
    cost: KernelModel

    @property
    def prefill_s(self) -> float:
        """One prompt by itself, in as many iterations as the token budget asks for."""
        return sum(self.cost.step_s(batch) for batch in self._chunks())

    def decode_batch(self, requests: int) -> Batch:
        """So many requests that have made half of their outputs."""
        case = self.machine.case
        return Batch(requests, round(requests * (case.prompt_tokens + case.output_tokens / 2)))

    def decode_s(self, requests: int) -> float:
        """An iteration of `decode_batch`."""
        return self.cost.step_s(self.decode_batch(requests))

    def spent(self, requests: int) -> Spent:
        """What `decode_s` goes to."""
        times = self.cost.explain(self.decode_batch(requests))
        return {time.group: {bound: float(each) for bound, each in time.seconds.items()} for time in times}

    def resources(self, requests: int) -> str:
        """The same in words, the largest share first."""
        by_bound: dict[Bound, float] = {}
        for parts in self.spent(requests).values():
            for bound, seconds in parts.items():
                by_bound[bound] = by_bound.get(bound, 0.0) + seconds
        whole = sum(by_bound.values())
        ranked = sorted(by_bound.items(), key=lambda item: -item[1])
        return ", ".join(f"{seconds / whole:.0%} {RESOURCE_NAMES[bound]}" for bound, seconds in ranked if seconds)

    def _chunks(self) -> Iterator[Batch]:
        prompt = max(round(self.machine.case.prompt_tokens), 1)
        budget = self.machine.case.engine.max_num_batched_tokens or prompt
        for start in range(0, prompt, budget):
            yield prompt_batch(self.cost, min(budget, prompt - start), start)


def prompt_batch(cost: KernelModel, new_tokens: int, cached_tokens: int) -> Batch:
    """One chunk of a prompt, alone."""
    tiles, keys = tiles_of(new_tokens, cached_tokens, cost.query_tile_tokens)
    seen, there = pairs(new_tokens, cached_tokens), new_tokens + cached_tokens
    return Batch(0, 0, 1, new_tokens, seen, there, tiles, keys, there)


def steps_of(machine: Machine) -> Steps | None:
    """None for an accelerator without a peak in the model's own type, in which most kernels compute."""
    case = machine.case
    if case.model.dtype not in case.accelerator.peak_flop_per_s:
        return None
    return Steps(machine, KernelModel(case.model, case.accelerator, machine.gpus, KernelsCost()))
