"""What is asked, and the few quantities that every figure of the answer is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sim import formulas
from sim.errors import InputError
from sim.specs.accelerator import MOST_WATTS, AcceleratorSpec, PricePerHour
from sim.specs.base import MeanTokens, Spec
from sim.specs.engine import EngineSpec
from sim.specs.memory import activation_bytes, check_tensor_parallel
from sim.specs.model import ModelSpec
from sim.specs.validation import validate


class _Numbers(Spec):
    """The numbers of a case, and what they may be."""

    prompt_tokens: MeanTokens
    output_tokens: MeanTokens
    price_per_hour: PricePerHour | None
    power_w: Annotated[float, Field(ge=0, le=MOST_WATTS)] | None


@dataclass(frozen=True)
class Case:
    """What is asked: a model on `engine.tensor_parallel_size` accelerators, requests of these mean lengths.

    `price_per_hour` (any currency) and `power_w` are per accelerator; None means what the accelerator's description
    says, and where that says nothing either, cost or energy is left out. Raises InputError for a number out of range.
    """

    model: ModelSpec
    accelerator: AcceleratorSpec
    engine: EngineSpec
    prompt_tokens: float
    output_tokens: float
    price_per_hour: float | None = None
    power_w: float | None = None

    def __post_init__(self) -> None:
        validate(_Numbers, {field: getattr(self, field) for field in _Numbers.model_fields})


class Machine:
    """The case in numbers; all GPUs together. Raises InputError for GPUs that cannot share or compute the model."""

    def __init__(self, case: Case) -> None:
        check_tensor_parallel(case.engine, case.model)
        self.case, self.model = case, case.model
        self.gpus = case.engine.tensor_parallel_size
        self.peak_dtype, peak = peak_of(case.model, case.accelerator)
        self.peak_flop_per_s = self.gpus * peak
        self.bytes_per_s = self.gpus * case.accelerator.memory_bytes_per_s
        self._divide_memory()
        self._count_work()

    def _divide_memory(self) -> None:
        """Bytes of weights and of KV cache, and how many requests the cache has room for."""
        model, engine = self.model, self.case.engine
        embedding = 0 if model.tie_word_embeddings else model.lm_head_parameters
        expert_bits = model.quantization.expert_bits if model.quantization else 8 * model.dtype_bytes
        self.expert_bytes = model.expert_parameters * expert_bits / 8
        self.shared_bytes = model.weight_bytes - embedding * model.dtype_bytes - self.expert_bytes
        copies, draft = self.gpus / model.kv_shards(self.gpus), engine.draft_model
        self.kv_layer_bytes = model.kv_bytes_per_token_per_layer * copies
        draft_token_bytes = 0 if draft is None else draft.kv_bytes_per_token * self.gpus / draft.kv_shards(self.gpus)
        self.kv_room_bytes = self._kv_room_bytes(model.kv_bytes_per_token * copies + draft_token_bytes)
        self.reserved_tokens = engine.max_model_len if engine.kv_allocation == "reserved" else None
        self.tokens_held = self.reserved_tokens or self.case.prompt_tokens + self.case.output_tokens
        self.kv_bytes_per_request = self.kv_layer_bytes * self.over_layers(lambda window: min(self.tokens_held, window))
        self.kv_bytes_per_request += draft_token_bytes * self.tokens_held
        self.kv_capacity_tokens = self.kv_room_bytes // (self.kv_bytes_per_request / self.tokens_held)
        self.concurrency = self.kv_capacity_tokens // self.tokens_held
        self.fits = self.concurrency >= 1
        self.largest_batch = min(self.concurrency, engine.max_num_seqs)

    def _kv_room_bytes(self, kv_bytes_per_token: float) -> float:
        """What the engine's blocks hold where their number is set, else what weights and activations leave.

        The weights of a draft model are among them.
        """
        engine = self.case.engine
        if engine.num_gpu_blocks is not None:
            return engine.usable_blocks * engine.block_size * kv_bytes_per_token
        usable = self.case.accelerator.memory_bytes * engine.gpu_memory_utilization * self.gpus
        draft_bytes = 0 if engine.draft_model is None else engine.draft_model.weight_bytes
        return usable - self.model.weight_bytes - draft_bytes - self.gpus * activation_bytes(engine, self.model)

    def _count_work(self) -> None:
        """FLOPs and seconds of one request alone."""
        heads, head_dim, latent = self.model.num_attention_heads, self.model.head_dim, self.model.latent_attention
        self.prefill_flops_per_pair = 2 * heads * (head_dim + (latent.v_head_dim if latent else head_dim))
        self.decode_flops_per_pair = self.prefill_flops_per_pair
        if latent is not None:
            self.decode_flops_per_pair = 2 * heads * (latent.cached_size + latent.kv_lora_rank)
        prompt, steps = self.case.prompt_tokens, max(self.case.output_tokens - 1, 1)
        prompt_pairs = self.over_layers(lambda window: formulas.causal_pairs(prompt, window))
        self.layer_contexts = self.over_layers(lambda window: formulas.mean_decode_context(prompt, steps, window))
        self.prefill_flops = self.matrix_flops(prompt) + self.prefill_flops_per_pair * prompt_pairs
        self.decode_flops = self.matrix_flops(1) + self.decode_flops_per_pair * self.layer_contexts
        self.prefill_compute_s = self.prefill_flops / self.peak_flop_per_s
        self.ttft_s = max(self.prefill_compute_s, self.weight_bytes_read(prompt) / self.bytes_per_s)
        self.tpot_s = self.decode_step_s(1)

    @property
    def requests_per_s(self) -> float:
        """At the largest batch: a request takes its prefill to itself, and its share of as many steps as decode it."""
        decode_s = (self.case.output_tokens - 1) * self.decode_step_s(self.largest_batch) / self.largest_batch
        return 1 / (self.prefill_compute_s + decode_s)

    def over_layers(self, quantity: Callable[[float], float]) -> float:
        """The sum over all layers of a quantity of their window in tokens, infinite where a layer has none."""
        windowed = self.model.windowed_layers
        if windowed is None:
            return self.model.num_hidden_layers * quantity(math.inf)
        full = self.model.num_hidden_layers - windowed.num_layers
        return full * quantity(math.inf) + windowed.num_layers * quantity(windowed.window_tokens)

    def matrix_flops(self, tokens: float) -> float:
        """Every weight a token runs through, the head for one row only."""
        return self.layer_matrix_flops(tokens) + formulas.quick_flops(1, self.model.lm_head_parameters)

    def layer_matrix_flops(self, tokens: float) -> float:
        """The matrices of the layers, the head left out."""
        return formulas.quick_flops(tokens, self.model.matrix_parameters - self.model.lm_head_parameters)

    def weight_bytes_read(self, tokens: float) -> float:
        """All weights but the input embedding; of the experts those that `tokens` tokens are expected to touch."""
        experts = self.model.experts
        if experts is None:
            return self.shared_bytes
        touched = formulas.distinct_experts(experts.num_experts, experts.num_experts_per_tok, tokens)
        return self.shared_bytes + self.expert_bytes * touched / experts.num_experts

    def decode_read_s(self, batch: float) -> float:
        """Weights once, and every cache."""
        cache_bytes = batch * self.layer_contexts * self.kv_layer_bytes
        return (self.weight_bytes_read(batch) + cache_bytes) / self.bytes_per_s

    def decode_step_s(self, batch: float) -> float:
        """The longer of reading and of computing one token each."""
        return max(self.decode_read_s(batch), batch * self.decode_flops / self.peak_flop_per_s)


def peak_of(model: ModelSpec, accelerator: AcceleratorSpec) -> tuple[str, float]:
    """The type the model computes in, or else the accelerator's own 16-bit type, and its peak FLOP/s."""
    quantized = model.quantization.computes_in if model.quantization else None
    peaks: dict[str, float] = {str(dtype): peak for dtype, peak in accelerator.peak_flop_per_s.items()}
    wanted = [dtype for dtype in dict.fromkeys((quantized, model.dtype, "bfloat16", "float16")) if dtype]
    for dtype in wanted:
        if dtype in peaks:
            return dtype, peaks[dtype]
    raise InputError(
        f"accelerator.peak_flop_per_s: {accelerator.name} has {', '.join(peaks) or 'nothing'}, but none of "
        f"{', '.join(wanted)}, in which {model.name} could compute; add such a peak or choose another accelerator"
    )
