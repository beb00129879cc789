"""What became of drafts, under the keys that vLLM's benchmark has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.metrics.ratio import ratio


def spec_decode(rounds: Mapping[tuple[int, int], int], num_speculative_tokens: int) -> dict[str, Any]:
    """vLLM's `spec_decode_…` keys; `rounds` counts those of so many drafts of which so many were accepted.

    As in vLLM 0.33.0 (vllm/v1/spec_decode/metrics.py, vllm/benchmarks/serve.py) the rate is a percentage of all drafts
    verified, the length the mean tokens of a round, 1 + accepted/rounds, also of a last round of which the answer did
    not need all; a position's rate is the share of all rounds in which that draft was accepted.
    """
    num_drafts = sum(rounds.values())
    draft_tokens = sum(drafts * times for (drafts, _), times in rounds.items())
    accepted_tokens = sum(accepted * times for (_, accepted), times in rounds.items())
    reached = [
        sum(times for (_, accepted), times in rounds.items() if accepted > position)
        for position in range(num_speculative_tokens)
    ]
    return {
        "spec_decode_acceptance_rate": ratio(100 * accepted_tokens, draft_tokens),
        "spec_decode_acceptance_length": ratio(num_drafts + accepted_tokens, num_drafts),
        "spec_decode_num_drafts": num_drafts,
        "spec_decode_draft_tokens": draft_tokens,
        "spec_decode_accepted_tokens": accepted_tokens,
        "spec_decode_per_position_acceptance_rates": [ratio(times, num_drafts) for times in reached],
    }
