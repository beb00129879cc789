"""Operators as a device with known constants would run them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from sim.config import load_accelerator
from sim.study.calibrate.changed import changed
from sim.study.calibrate.fits import attention, experts, gemm
from sim.study.calibrate.operators import ALL_REDUCE, COPY, DECODE, EXPERTS, GEMM, MIXED, SAMPLER, Tables

TRUTH = {
    "efficiency.gemm_compute": 0.81,
    "efficiency.gemm_memory": 0.77,
    "kernels.float8_gemm.compute": 0.55,
    "kernels.float8_gemm.memory": 0.7,
    "kernels.prefill_start_s": 9e-6,
    "kernels.prefill_tile_s": 0.05e-6,
    "efficiency.attention_compute": 0.62,
    "kernels.decode_start_s": 12e-6,
    "kernels.decode_row_s": 0.1e-6,
    "efficiency.attention_memory": 0.86,
    "kernels.experts.compute": 0.5,
    "kernels.experts.memory": 0.85,
    "kernels.experts.power": 1.5,
    "kernels.experts.start_s": 30e-6,
    "kernels.experts.element_s": 3e-12,
    "kernels.all_reduce.2.start_s": 5e-6,
    "kernels.all_reduce.2.bytes_per_s": 2e11,
    "kernels.sampler_start_s": 20e-6,
    "kernels.sampler_row_s": 0.5e-6,
    "kernels.elementwise_memory": 0.88,
}
HEADS = {"query_heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0, "kv_bytes": 2.0}


def base():
    return load_accelerator("h100-sxm")


def device():
    return changed(base(), TRUTH)


def table(seconds, **columns) -> pd.DataFrame:
    frame = grid(**columns)
    return frame.assign(seconds=seconds(frame))


def grid(**columns) -> pd.DataFrame:
    names = list(columns)
    return pd.DataFrame(list(product(*columns.values())), columns=names)


def of(*names: str) -> list[float]:
    return [TRUTH[name] for name in names]


def matrices(dtype: str, rows=(1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0), inputs=(2048.0, 4096.0)) -> pd.DataFrame:
    def seconds(frame):
        return gemm.predicted(frame, dtype, device(), of(*gemm.NAMES[dtype]))

    return table(seconds, dtype=[dtype], rows=rows, inputs=inputs, outputs=(4096.0, 8192.0, 28672.0))


def decodes() -> pd.DataFrame:
    frame = grid(sequences=(1.0, 8.0, 64.0, 256.0), context=(128, 1024, 4096, 16384))
    frame["keys"] = frame["sequences"] * frame.pop("context")
    frame = frame.assign(**HEADS)
    return frame.assign(seconds=attention.predicted_decode(frame, device(), of(*attention.DECODE)))


def prompts(decodes: float = 0.0) -> pd.DataFrame:
    frame = grid(prompts=(1.0, 4.0), new_tokens=(64.0, 128.0, 512.0, 2048.0), cached_tokens=(0.0, 1024.0))
    frame = frame.assign(decodes=decodes, decode_keys=decodes * 1000, longest_decode=1000.0 * (decodes > 0), **HEADS)
    return frame.assign(seconds=attention.predicted_mixed(frame, device(), of(*attention.PREFILL)))


def routed() -> pd.DataFrame:
    names = [f"kernels.experts.{name}" for name in ("compute", "memory", "power", "start_s", "element_s")]

    def seconds(frame):
        return experts.predicted(frame, "bfloat16", device(), of(*names))

    return table(
        seconds,
        dtype=["bfloat16"],
        rows=(1.0, 8.0, 64.0, 512.0, 4096.0, 16384.0),
        hidden_size=(2048.0, 4096.0),
        intermediate_size=(768.0, 1536.0),
        num_experts=[128.0],
        num_experts_per_tok=[8.0],
        ranks=(1.0, 8.0),
        distribution=["random"],
    )


def small(name: str) -> pd.DataFrame:
    if name == ALL_REDUCE:
        size = 2.0 ** np.arange(10, 28)
        return pd.DataFrame({"gpus": 2.0, "message_bytes": size, "seconds": 5e-6 + size / 2e11})
    if name == SAMPLER:
        count = 2.0 ** np.arange(10)
        return pd.DataFrame({"sequences": count, "seconds": 20e-6 + 0.5e-6 * count})
    size = 2.0 ** np.arange(18, 31)
    return pd.DataFrame({"copied_bytes": size, "seconds": 4e-6 + 2 * size / (0.88 * device().memory_bytes_per_s)})


def everything() -> Tables:
    return {
        GEMM: pd.concat([matrices("bfloat16"), matrices("float8")], ignore_index=True),
        DECODE: decodes(),
        MIXED: pd.concat([prompts(), prompts(32.0)], ignore_index=True),
        EXPERTS: routed(),
        **{name: small(name) for name in (ALL_REDUCE, SAMPLER, COPY)},
    }


def noisy(tables: Tables, seed: int = 1) -> Tables:
    random = np.random.default_rng(seed)
    return {
        name: frame.assign(seconds=frame["seconds"] * np.exp(0.05 * random.standard_normal(len(frame))))
        for name, frame in tables.items()
    }
