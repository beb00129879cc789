"""vLLM 0.15.1 on H100 under evenly spaced requests: TPOT and E2E, simulated against 12 measured rows.

The load generator cycles through few prompts, so after a first pass each prompt's full blocks are in the prefix cache.
Writes results/fidelity/h100_rows.csv. Run from the repository's root:

    .venv/bin/python experiments/fidelity/h100_rows.py --data DIR [--out FILE]
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from measured import arguments, error, percent, real_runs, simulate, write

from sim.study.validate.names import device_named, model_named

CLIENT_MS = 7.5
"""HTTP and tokenizer, in every TTFT and E2E that a client measures."""
BLOCK_TOKENS = 16


def config_of(row: Any, prompts: int) -> dict[str, Any]:
    """The experiment of a row: every prompt is one of `prompts` texts and as many tokens as are never cached."""
    tokens = round(row.prompt_len_mean)
    shared = (tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    model, _ = model_named(row.model, "model")
    return {
        "model": model,
        "accelerator": device_named(row.gpu, None, "gpu").entry,
        "engine": {
            "tensor_parallel_size": int(row.tp),
            "max_model_len": int(row.max_model_len),
            "max_num_batched_tokens": int(row.max_num_batched_tokens),
            "max_num_seqs": int(row.max_num_seqs),
            "gpu_memory_utilization": 0.9,
        },
        "cost": {"kind": "kernels", "graph_tokens": min(2 * int(row.max_num_seqs), 512)},
        "workload": {
            "arrivals": {"process": "deterministic", "rate": float(row.rate_req_s)},
            "lengths": {"prompt": tokens - shared, "output": int(row.output_len_target)},
            "shared_prefix": {"num_prefixes": prompts, "tokens": shared},
            "num_requests": int(row.rate_req_s * row.duration_s),
        },
    }


def compared(row: Any) -> dict[str, Any]:
    """A row of the result. Only an experiment's first stage meets an empty cache."""
    prompts = int(row.num_unique_system_prompts * row.num_users_per_system_prompt)
    found = simulate(config_of(row, prompts), skip=0 if row.stage == 0 else 4 * prompts)
    return {
        "experiment": row.experiment,
        "rate_req_s": row.rate_req_s,
        "tpot_real_ms": row.tpot_mean_ms_derived,
        "tpot_simulated_ms": found.tpot_ms,
        "tpot_error": error(found.tpot_ms, row.tpot_mean_ms_derived),
        "e2e_real_ms": row.e2e_mean_ms,
        "e2e_simulated_ms": found.e2e_ms + CLIENT_MS,
        "e2e_error": error(found.e2e_ms + CLIENT_MS, row.e2e_mean_ms),
        "ttft_real_ms": row.ttft_mean_ms,
        "ttft_simulated_ms": found.ttft_ms + CLIENT_MS,
        "ttft_error": error(found.ttft_ms + CLIENT_MS, row.ttft_mean_ms),
    }


def main() -> None:
    """Simulate every row whose workload is known; write and print the table."""
    parser = arguments(str(__doc__), "h100_rows.csv")
    options = parser.parse_args()
    rows = pd.read_csv(real_runs(parser, options.data) / "h100_vllm_train.csv")
    table = pd.DataFrame([compared(row) for row in rows[rows["workload_known"] == "exact"].itertuples()])
    write(table, options.out)
    shown = table[["experiment", "rate_req_s", "tpot_real_ms", "tpot_error", "e2e_error", "ttft_error"]]
    print(percent(shown).to_string(index=False))
    for name in ("tpot", "e2e", "ttft"):
        errors = table[f"{name}_error"]
        print(f"{name.upper()}: mean absolute error {errors.abs().mean():.1%}, mean {errors.mean():+.1%}")


if __name__ == "__main__":
    main()
