"""Times calls with PyTorch on a CUDA device: the median of several, inside a CUDA graph, with the L2 cache flushed.

Decode attention uses flash-attn where that is installed, as engines do; else scaled_dot_product_attention of PyTorch,
which decodes slower.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

from sim.errors import InputError
from sim.study.calibrate.measure.calls import Call
from sim.study.calibrate.operators import COPY, DECODE, GEMM

WARM_UPS, REPEATS = 3, 11
FLUSHED_BYTES = 256 * 2**20
"""Written before each call: more than any L2 cache holds."""
REMEDY = "run it on the machine with the GPU, or write the plain table of docs/calibrate.md and give that to --ops"


class TorchTimer:
    """Times calls on the current CUDA device. Raises InputError where there is no PyTorch or no device."""

    def __init__(self) -> None:
        self.torch = _torch()
        self.versions = {"torch": str(self.torch.__version__), "cuda": str(self.torch.version.cuda)}
        self.device = str(self.torch.cuda.get_device_name())
        self._flash = _flash_attention()
        self._flush = self.torch.empty(FLUSHED_BYTES, dtype=self.torch.int8, device="cuda")

    def __call__(self, call: Call) -> float | None:
        """Seconds of one call; None where memory does not suffice."""
        try:
            return self._median(self._prepared(call))
        except self.torch.cuda.OutOfMemoryError:
            return None
        finally:
            self.torch.cuda.empty_cache()

    def _prepared(self, call: Call) -> Callable[[], object]:
        row = {name: value if isinstance(value, str) else int(value) for name, value in call.row.items()}
        if call.operator == GEMM:
            return self._gemm(row)
        if call.operator == COPY:
            return self._copy(row)
        return self._decode(row) if call.operator == DECODE else self._prefill(row)

    def _gemm(self, row: dict[str, Any]) -> Callable[[], object]:
        activations = self._random(row["rows"], row["inputs"])
        weights = self._random(row["outputs"], row["inputs"])
        return lambda: self.torch.nn.functional.linear(activations, weights)

    def _copy(self, row: dict[str, Any]) -> Callable[[], object]:
        source = self.torch.empty(row["copied_bytes"], dtype=self.torch.int8, device="cuda")
        target = self.torch.empty_like(source)
        return lambda: target.copy_(source)

    def _decode(self, row: dict[str, Any]) -> Callable[[], object]:
        count, context = row["sequences"], row["keys"] // row["sequences"]
        if self._flash is not None:
            query = self._random(count, 1, row["query_heads"], row["head_dim"])
            keys, values = (self._random(count, context, row["kv_heads"], row["head_dim"]) for _ in range(2))
            return lambda: self._flash.flash_attn_with_kvcache(query, keys, values, cache_seqlens=context)
        query = self._random(count, row["query_heads"], 1, row["head_dim"])
        keys, values = (self._random(count, row["kv_heads"], context, row["head_dim"]) for _ in range(2))
        return lambda: self.torch.nn.functional.scaled_dot_product_attention(query, keys, values, enable_gqa=True)

    def _prefill(self, row: dict[str, Any]) -> Callable[[], object]:
        count, new = row["prompts"], row["new_tokens"]
        query = self._random(count, row["query_heads"], new, row["head_dim"])
        keys, values = (self._random(count, row["kv_heads"], new, row["head_dim"]) for _ in range(2))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(query, keys, values, is_causal=True, enable_gqa=True)

    def _random(self, *shape: int) -> Any:
        return self.torch.randn(*shape, dtype=self.torch.bfloat16, device="cuda")

    def _median(self, run: Callable[[], object]) -> float:
        torch = self.torch
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return median(self._once(graph) for _ in range(REPEATS)) * 1e-3

    def _once(self, graph: Any) -> float:
        """Milliseconds of one replay, after what is in the cache is gone."""
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_()
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))


def _torch() -> Any:
    try:
        torch = import_module("torch")
    except ImportError:
        raise InputError(
            f"--measure: needs PyTorch, which is not installed; pip install 'servesim[measure]', or {REMEDY}"
        ) from None
    if not torch.cuda.is_available():
        raise InputError(f"--measure: PyTorch {torch.__version__} finds no CUDA device here; {REMEDY}")
    return torch


def _flash_attention() -> Any:
    try:
        return import_module("flash_attn")
    except ImportError:
        return None
