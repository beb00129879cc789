"""vLLM V1, release 0.33.0."""

from __future__ import annotations

from sim.errors import InputError
from sim.study.recordings.framework import Framework, Record


def _engine(config: Record) -> tuple[str, Record]:
    for key in ("num_speculative_tokens", "num_lookahead_tokens"):
        if config.get(key):
            raise InputError(f"{key} {config[key]} is not modelled yet; replay recordings without speculation")
    return "vllm-v1", {
        key: value for key, value in config.items() if key not in ("num_speculative_tokens", "num_lookahead_tokens")
    }


VLLM_V1 = Framework(_engine)
