"""TPOT of InferenceX's aggregated runs, simulated against every measured training point that the program accepts.

Each point is a closed loop at the point's concurrency, prompts and outputs uniform between 0.8 and 1 times the nominal
length, under the vLLM preset whatever the backend was. Writes results/fidelity/inferencex.csv. Run from the
repository's root:

    .venv/bin/python experiments/fidelity/inferencex.py --data DIR [--systems h100_sxm,h200_sxm] [--out FILE]
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pandas as pd
from measured import arguments, error, percent, real_runs, simulate, write

from sim.config import load_model
from sim.errors import InputError
from sim.specs.model import ModelSpec
from sim.study.validate.names import device_named, model_named

BITS = {"fp8": 8.0, "fp8_block": 8 + 32 / 128**2, "nvfp4": 4.5, "int4_wo": 4 + 20 / 128}
METHODS = {"fp8": "fp8", "fp8_block": "fp8", "nvfp4": "modelopt NVFP4", "int4_wo": "awq"}
BOX_GPUS = 8
SHORTEST = 0.8
"""The shortest prompt or output over the nominal one."""
WAVES = 3
"""Requests of each user; latencies leave out the first, for which all come at once."""
WITHIN = 0.3
KEY = ["system", "model_path", "gemm_quant_mode", "tp_size", "isl", "osl", "concurrency"]
"""What decides the simulation of a point."""


class Refused(Exception):
    """Why a point is not simulated."""


def layout_of(row: Any) -> int:
    """GPUs that share the model, unless they do so in a way that is not modelled."""
    tp, expert_parallel, ranks = (int(one) for one in (row.tp_size, row.moe_ep_size, row.attention_dp_size))
    if tp > BOX_GPUS or ranks > BOX_GPUS:
        raise Refused("more GPUs than a box has: a slip of the conversion")
    if ranks > 1:
        raise Refused("data parallelism")
    if expert_parallel > 1 and tp > 1:
        raise Refused("expert parallelism")
    return tp


def model_of(path: str, quantization: str) -> ModelSpec:
    """The model, with the weights that the point had where the catalogue's differ."""
    try:
        name, by_name = model_named(path, "model")
    except InputError:
        raise Refused(f"model {path}") from None
    model = load_model(name)
    kind = quantization or by_name or ""
    own = model.quantization
    if not kind or (own is not None and own.expert_bits <= BITS[kind] + 0.1):
        return model
    bits, latent = BITS[kind], model.latent_attention is not None
    described = {
        "method": METHODS[kind],
        "attention_bits": 16.0 if kind == "nvfp4" and latent else bits,
        "mlp_bits": bits,
        "expert_bits": bits,
        "kv_cache_bytes": 1 if kind == "nvfp4" else None,
    }
    return ModelSpec.model_validate(model.model_dump() | {"quantization": described})


def config_of(row: Any) -> dict[str, Any]:
    """The experiment of a point. Raises Refused where it is not modelled."""
    tp = layout_of(row)
    try:
        accelerator = device_named(row.system, None, "system").entry
    except InputError:
        raise Refused(f"GPU {row.system}") from None
    users = int(row.concurrency)
    lengths = {
        key: {"distribution": "uniform", "low": int(SHORTEST * tokens), "high": int(tokens)}
        for key, tokens in (("prompt", row.isl), ("output", row.osl))
    }
    return {
        "model": model_of(row.model_path, row.gemm_quant_mode).model_dump(),
        "accelerator": accelerator,
        "engine": {
            "tensor_parallel_size": tp,
            "max_model_len": int(row.isl + row.osl + 256),
            "max_num_seqs": max(1024, users),
            "gpu_memory_utilization": 0.9,
            "enable_prefix_caching": False,
        },
        "workload": {
            "arrivals": {"process": "closed_loop", "users": users},
            "lengths": lengths,
            "num_requests": WAVES * users + 2,
        },
    }


def tpot_of(config: dict[str, Any]) -> float | str:
    """Mean TPOT in milliseconds, or why there is none."""
    try:
        return simulate(config, skip=config["workload"]["arrivals"]["users"]).tpot_ms
    except InputError as refusal:
        return re.split(r"[:;]", str(refusal))[0] if "does not fit" not in str(refusal) else "does not fit in memory"


def read_points(path: Any) -> pd.DataFrame:
    """The aggregated points, with the concurrency of their load generator."""
    table = pd.read_csv(path)
    table = table[table["mode"] == "agg"].reset_index(drop=True)
    stated = table["silicon_data_source"].str.extract(r"silicon_concurrency=([\d.]+)")[0].astype(float)
    ranks = table["attention_dp_size"].fillna(1).clip(lower=1)
    filled = {"attention_dp_size": 1, "moe_ep_size": 1, "gemm_quant_mode": "", "precision": ""}
    return table.fillna(filled).assign(concurrency=stated.fillna(table["batch_size"] * ranks))


def simulated(points: pd.DataFrame) -> tuple[pd.DataFrame, Counter[str]]:
    """The points that were simulated, with `tpot_simulated_ms` and its error, and how many were refused why."""
    configs: dict[Any, dict[str, Any]] = {}
    refused: Counter[str] = Counter()
    keys = []
    for row in points.itertuples():
        key = tuple(getattr(row, name) for name in KEY)
        try:
            configs.setdefault(key, config_of(row))
            keys.append(key)
        except Refused as why:
            refused[str(why)] += 1
            keys.append(None)
    found = {key: tpot_of(config) for key, config in configs.items()}
    values = [found.get(key) for key in keys]
    refused.update(value for value in values if isinstance(value, str))
    kept = points.assign(tpot_simulated_ms=[value if isinstance(value, float) else None for value in values])
    kept = kept.dropna(subset=["tpot_simulated_ms"]).rename(columns={"silicon_tpot_ms": "tpot_real_ms"})
    return kept.assign(tpot_error=error(kept["tpot_simulated_ms"], kept["tpot_real_ms"])), refused


def by(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Points, median absolute error, median error and share within 30 %, by `columns`."""
    errors = table.groupby(list(columns))["tpot_error"]
    found = {
        "points": errors.size(),
        "median_absolute": errors.apply(lambda one: one.abs().median()).map("{:.1%}".format),
        "median_error": errors.median(),
        "within_30_%": errors.apply(lambda one: (one.abs() <= WITHIN).mean()).map("{:.0%}".format),
    }
    return percent(pd.DataFrame(found).reset_index())


def main() -> None:
    """Simulate what can be; write the points, print errors by GPU, backend and model, and what was refused."""
    parser = arguments(str(__doc__), "inferencex.csv")
    parser.add_argument("--systems", help="only these, such as h100_sxm,h200_sxm")
    options = parser.parse_args()
    points = read_points(real_runs(parser, options.data) / "inferencex_train.csv.gz")
    if options.systems:
        points = points[points["system"].isin(options.systems.split(","))]
    table, refused = simulated(points)
    columns = ["id", "backend", *KEY, "tpot_real_ms", "tpot_simulated_ms", "tpot_error"]
    write(table[columns], options.out)
    print(f"{len(table)} of {len(points)} points simulated; refused:")
    for why, count in refused.most_common():
        print(f"  {count:5d}  {why}")
    if table.empty:
        return
    for columns in (["system"], ["system", "backend"], ["model_path", "system"]):
        print(by(table, *columns).to_string(index=False), end="\n\n")
    overall = table["tpot_error"]
    print(f"all: median absolute error {overall.abs().median():.1%}, median error {overall.median():+.1%}")


if __name__ == "__main__":
    main()
