"""The back-of-envelope answer: does it fit, how fast at best, how many at once, what binds. Closed form, no simulation.

Times are speed of light: datasheet peaks, nothing lost; the simulator says how far real iterations stay behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim import formulas
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.engine import EngineSpec
from sim.specs.memory import activation_bytes
from sim.specs.model import ModelSpec

TRAINING_TOKENS, TRAINING_UTILISATION = 1e12, 0.45
QUANTIZED_PEAKS = {"fp8": "float8", "modelopt FP8": "float8", "modelopt NVFP4": "float4"}
"""Which peak computes a quantisation whose activations are quantised too; weight-only ones compute in 16 bit."""


@dataclass(frozen=True)
class Case:
    """What is asked: a model on `engine.tensor_parallel_size` accelerators, requests of these mean lengths.

    `price_per_hour` (any currency) and `power_w` are per accelerator; without them cost and energy are left out.
    """

    model: ModelSpec
    accelerator: AcceleratorSpec
    engine: EngineSpec
    prompt_tokens: float
    output_tokens: float
    price_per_hour: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Figure:
    """One number of the answer, with its unit and the formula it comes from."""

    name: str
    value: float | str
    unit: str
    formula: str


def estimate(case: Case) -> list[Figure]:
    """All figures, in reading order; names are unique."""
    machine = _Machine(case)
    return [*_size(machine), *_work(machine), *_speed(machine), *_load(machine), *_beyond(machine)]


class _Machine:
    """The few quantities every figure is made of; all GPUs together."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, case.model
        model, gpus = case.model, case.engine.tensor_parallel_size
        self.gpus = gpus
        self.peak_flop_per_s = gpus * _peak(model, case.accelerator)
        self.bytes_per_s = gpus * case.accelerator.memory_bytes_per_s
        embedding = 0 if model.tie_word_embeddings else model.lm_head_parameters
        self.read_parameters = model.active_parameters - embedding
        expert_bits = model.quantization.expert_bits if model.quantization else 8 * model.dtype_bytes
        self.expert_bytes = model.expert_parameters * expert_bits / 8
        self.shared_bytes = model.weight_bytes - embedding * model.dtype_bytes - self.expert_bytes
        self.mean_context = case.prompt_tokens + case.output_tokens / 2
        usable = case.accelerator.memory_bytes * case.engine.gpu_memory_utilization * gpus
        self.kv_room_bytes = usable - model.weight_bytes - gpus * activation_bytes(case.engine, model)
        self.kv_bytes_per_token = model.kv_bytes_per_token * gpus / model.kv_shards(gpus)
        self.kv_capacity_tokens = max(self.kv_room_bytes, 0) // self.kv_bytes_per_token
        self.concurrency = self.kv_capacity_tokens // (case.prompt_tokens + case.output_tokens)
        self.prefill_flops = self.matrix_flops(case.prompt_tokens) + self.attention_flops(
            case.prompt_tokens * (case.prompt_tokens + 1) / 2
        )
        self.decode_flops = self.matrix_flops(1) + self.attention_flops(self.mean_context)
        self.ttft_s = self.prefill_flops / self.peak_flop_per_s
        self.tpot_s = self.decode_step_s(1)

    def matrix_flops(self, tokens: float) -> float:
        """Every weight a token runs through, the head for one row only."""
        body = self.read_parameters - self.model.lm_head_parameters
        return formulas.quick_flops(tokens, body) + formulas.quick_flops(1, self.model.lm_head_parameters)

    def attention_flops(self, pairs: float) -> float:
        """Scores and weighted sum for this many query-key pairs a layer."""
        latent = self.model.latent_attention
        value_dim = latent.v_head_dim if latent else self.model.head_dim
        per_pair = 2 * self.model.num_attention_heads * (self.model.head_dim + value_dim)
        return per_pair * pairs * self.model.num_hidden_layers

    def weight_bytes_read(self, batch: float) -> float:
        """All weights but the input embedding; of the experts those that `batch` tokens are expected to touch."""
        experts = self.model.experts
        if experts is None:
            return self.shared_bytes
        touched = formulas.distinct_experts(experts.num_experts, experts.num_experts_per_tok, batch)
        return self.shared_bytes + self.expert_bytes * touched / experts.num_experts

    def decode_read_s(self, batch: float) -> float:
        """Weights once, and every cache."""
        cache_bytes = batch * self.mean_context * self.kv_bytes_per_token
        return (self.weight_bytes_read(batch) + cache_bytes) / self.bytes_per_s

    def decode_step_s(self, batch: float) -> float:
        """The longer of reading and of computing one token each."""
        return max(self.decode_read_s(batch), batch * self.decode_flops / self.peak_flop_per_s)


def _peak(model: ModelSpec, accelerator: AcceleratorSpec) -> float:
    """Peak FLOP/s of the type the model computes in, or of the accelerator's own 16-bit type."""
    quantized = QUANTIZED_PEAKS.get(model.quantization.method if model.quantization else "")
    peaks: dict[str, float] = {str(dtype): peak for dtype, peak in accelerator.peak_flop_per_s.items()}
    return next(peaks[dtype] for dtype in (quantized, model.dtype, "bfloat16", "float16") if dtype in peaks)


def _size(m: _Machine) -> list[Figure]:
    fits = "yes" if m.kv_room_bytes >= m.kv_bytes_per_token else f"no, {-m.kv_room_bytes / 1e9:.1f} GB short"
    return [
        Figure("total_parameters", m.model.total_parameters, "", "embeddings + layers + head"),
        Figure("active_parameters", m.model.active_parameters, "", "what one token runs through"),
        Figure("weight_bytes", m.model.weight_bytes, "B", "parameters x bytes of their type"),
        Figure("kv_bytes_per_token", m.model.kv_bytes_per_token, "B", "2 x layers x KV heads x head_dim x bytes"),
        Figure("fits", fits, "", "GPUs x memory x gpu_memory_utilization > weights + activations"),
        Figure("kv_capacity_tokens", m.kv_capacity_tokens, "tokens", "memory left / KV bytes per token"),
        Figure("max_concurrency", m.concurrency, "requests", "KV capacity / (prompt + output)"),
    ]


def _work(m: _Machine) -> list[Figure]:
    prompt = m.case.prompt_tokens
    return [
        Figure(
            "prefill_flops_quick", formulas.quick_flops(prompt, m.read_parameters), "FLOP", "2 x parameters x prompt"
        ),
        Figure("prefill_flops", m.prefill_flops, "FLOP", "matrices + causal attention + head for one row"),
        Figure("decode_flops_quick", formulas.quick_flops(1, m.read_parameters), "FLOP", "2 x parameters"),
        Figure("decode_flops", m.decode_flops, "FLOP", "matrices + attention over prompt + output/2 tokens"),
    ]


def _speed(m: _Machine) -> list[Figure]:
    output = m.case.output_tokens
    latency_s = m.ttft_s + m.tpot_s * (output - 1)
    roof = m.peak_flop_per_s / m.decode_flops
    kept_up = [
        name for name, wpm in formulas.READING_WORDS_PER_MINUTE.items() if m.tpot_s <= formulas.reading_tpot_s(wpm)
    ]
    return [
        Figure("ttft_s", m.ttft_s, "s", "prefill FLOPs / peak"),
        Figure("tpot_s", m.tpot_s, "s", "batch 1: max((weights read + KV) / bandwidth, decode FLOPs / peak)"),
        Figure("tokens_per_s", 1 / m.tpot_s, "tok/s", "batch 1: 1 / TPOT"),
        Figure("compute_roof_tokens_per_s", roof, "tok/s", "peak / decode FLOPs: out of reach for small batches"),
        Figure("latency_s", latency_s, "s", "TTFT + TPOT x (output - 1)"),
        Figure("keeps_up_with", ", ".join(kept_up) or "no reader", "", "TPOT <= 60 / (words per minute x 1.5)"),
    ]


def _load(m: _Machine) -> list[Figure]:
    """The batch that compute, bandwidth or KV memory allows, and the request rate that goes with the smallest."""
    compute_batch = m.weight_bytes_read(m.concurrency or 1) / m.bytes_per_s * m.peak_flop_per_s / m.decode_flops
    batch = max(min(m.concurrency, m.case.engine.max_num_seqs), 1)
    step_s = m.decode_step_s(batch)
    seconds_per_request = m.ttft_s + m.case.output_tokens * step_s / batch
    bound = "KV memory" if m.concurrency < m.case.engine.max_num_seqs else "seats"
    resource = "bandwidth" if m.decode_read_s(batch) >= step_s else "compute"
    return [
        Figure(
            "compute_bound_batch", compute_batch, "requests", "weights read / bandwidth = batch x decode FLOPs / peak"
        ),
        Figure("largest_batch", batch, "requests", "min(max_concurrency, max_num_seqs)"),
        Figure("tpot_at_largest_batch_s", step_s, "s", "as TPOT, with that many caches to read"),
        Figure(
            "output_tokens_per_s", m.case.output_tokens / seconds_per_request, "tok/s", "output x requests per second"
        ),
        Figure("requests_per_s", 1 / seconds_per_request, "1/s", "1 / (TTFT + output x step / batch)"),
        Figure("binds", f"the batch: {bound}, its steps: {resource}", "", "the smallest of the limits above"),
    ]


def _beyond(m: _Machine) -> list[Figure]:
    """Training time; cost and energy where price and power are given."""
    flops = 6 * m.model.active_parameters * TRAINING_TOKENS
    days = formulas.training_seconds(flops, m.peak_flop_per_s, 1, TRAINING_UTILISATION) / 86400
    tokens_per_s = float(next(figure.value for figure in _load(m) if figure.name == "output_tokens_per_s"))
    seconds_per_million = 1e6 / tokens_per_s
    figures = [Figure("training_days", days, "days", "6 x parameters x 1e12 tokens / (peak x 0.45)")]
    if m.case.price_per_hour is not None:
        cost = m.gpus * m.case.price_per_hour * seconds_per_million / 3600
        figures.append(Figure("cost_per_million_tokens", cost, "", "GPUs x price / output tokens per second"))
    if m.case.power_w is not None:
        energy = m.gpus * m.case.power_w * seconds_per_million / 3.6e6
        figures.append(Figure("energy_per_million_tokens", energy, "kWh", "GPUs x power / output tokens per second"))
    return figures
