"""Batches as people think of them: decodes, and prompt chunks one by one."""

from __future__ import annotations

from sim.cost.batch import Batch


def batch_of(*chunks: tuple[int, int], decodes: int = 0, context_tokens: int = 0, service_s: float = 0.0) -> Batch:
    """Of each chunk its new tokens and the tokens cached before, of the decodes the tokens they all attend to."""
    return Batch(
        decodes,
        context_tokens,
        prefill_requests=len(chunks),
        prefill_tokens=sum(new for new, _ in chunks),
        prefill_pairs=sum(sum(range(cached + 1, cached + new + 1)) for new, cached in chunks),
        prefill_context_tokens=sum(new + cached for new, cached in chunks),
        service_s=service_s,
    )
