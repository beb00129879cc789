"""vLLM V1, release 0.33.0."""

from __future__ import annotations

from sim.study.recordings.framework import Framework, Record

DRAFT_KEYS = ("num_speculative_tokens", "num_lookahead_tokens", "max_num_new_slots_for_drafting")
NOBODY: Record = {
    "name": "the draft model of a recording, of which only the slots it takes matter",
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "vocab_size": 64,
    "max_position_embeddings": 1_000_000,
}


def _engine(config: Record) -> tuple[str, Record]:
    arguments = {key: value for key, value in config.items() if key not in DRAFT_KEYS}
    drafts = config.get("num_speculative_tokens")
    if drafts:
        method: Record = {"method": "ngram"}
        if config["num_lookahead_tokens"]:
            method = {"method": "draft_model", "model": NOBODY}
        acceptance = {"kind": "constant", "rate": 0.0}
        arguments["speculation"] = method | {"num_speculative_tokens": drafts, "acceptance": acceptance}
    return "vllm-v1", arguments


VLLM_V1 = Framework(_engine)
