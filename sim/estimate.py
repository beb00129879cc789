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
PREFILL_UTILISATION = 0.6
"""Share of the compute peak that a prefill is commonly said not to exceed."""
QUANTIZED_PEAKS = {"fp8": "float8", "modelopt FP8": "float8", "modelopt NVFP4": "float4"}
"""Which peak computes a quantisation whose activations are quantised too; weight-only ones compute in 16 bit."""


@dataclass(frozen=True)
class Case:
    """What is asked: a model on `engine.tensor_parallel_size` accelerators, requests of these mean lengths.

    `price_per_hour` (any currency) and `power_w` are per accelerator; None means what the accelerator's description
    says, and where that says nothing either, cost or energy is left out.
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


COMPUTE_ALONE = "from compute alone, as often quoted"
"""The section of estimates that leave memory traffic out; for comparison, not to be believed at small batches."""


def estimate(case: Case) -> list[Figure]:
    """All figures, in reading order; names are unique."""
    return [figure for figures in sections(case).values() for figure in figures]


def sections(case: Case) -> dict[str, list[Figure]]:
    """The figures under headings, in reading order."""
    machine = _Machine(case)
    return {
        "machine": _limits(machine),
        "size": _size(machine),
        "one request alone": _speed(machine),
        "as many as fit": _load(machine),
        "training, cost, energy": _beyond(machine),
        COMPUTE_ALONE: _compute_alone(machine),
    }


class _Machine:
    """The few quantities every figure is made of; all GPUs together."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, case.model
        model, gpus = case.model, case.engine.tensor_parallel_size
        self.gpus = gpus
        self.peak_dtype, peak = _peak(model, case.accelerator)
        self.peak_flop_per_s = gpus * peak
        self.bytes_per_s = gpus * case.accelerator.memory_bytes_per_s
        embedding = 0 if model.tie_word_embeddings else model.lm_head_parameters
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
        return self.layer_matrix_flops(tokens) + formulas.quick_flops(1, self.model.lm_head_parameters)

    def layer_matrix_flops(self, tokens: float) -> float:
        """The matrices of the layers, the head left out."""
        return formulas.quick_flops(tokens, self.model.matrix_parameters - self.model.lm_head_parameters)

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


def _peak(model: ModelSpec, accelerator: AcceleratorSpec) -> tuple[str, float]:
    """The type the model computes in, or else the accelerator's own 16-bit type, and its peak FLOP/s."""
    quantized = QUANTIZED_PEAKS.get(model.quantization.method if model.quantization else "")
    peaks: dict[str, float] = {str(dtype): peak for dtype, peak in accelerator.peak_flop_per_s.items()}
    return next((dtype, peaks[dtype]) for dtype in (quantized, model.dtype, "bfloat16", "float16") if dtype in peaks)


def _sheet(accelerator: AcceleratorSpec) -> str:
    return f"from: {accelerator.source or f'the description of {accelerator.name}'}"


def _limits(m: _Machine) -> list[Figure]:
    ridge, sheet = m.peak_flop_per_s / m.bytes_per_s, _sheet(m.case.accelerator)
    return [
        Figure("peak_flop_per_s", m.peak_flop_per_s, "FLOP/s", f"GPUs x dense {m.peak_dtype} peak, {sheet}"),
        Figure("memory_bytes_per_s", m.bytes_per_s, "B/s", "GPUs x memory bandwidth, from the same"),
        Figure("ridge_flop_per_byte", ridge, "FLOP/B", "peak / bandwidth: work below this intensity is memory-bound"),
    ]


def _size(m: _Machine) -> list[Figure]:
    fits = "yes" if m.kv_room_bytes >= m.kv_bytes_per_token else f"no, {-m.kv_room_bytes / 1e9:.1f} GB short"
    return [
        Figure("total_parameters", m.model.total_parameters, "", "embeddings + layers + head"),
        Figure("active_parameters", m.model.active_parameters, "", "what one token runs through, its experts only"),
        Figure("matrix_parameters", m.model.matrix_parameters, "", "active - input embedding, norms and biases"),
        Figure("weight_bytes", m.model.weight_bytes, "B", "parameters x bytes of their type"),
        Figure("kv_bytes_per_token", m.model.kv_bytes_per_token, "B", "2 x layers x KV heads x head_dim x bytes"),
        Figure("fits", fits, "", "GPUs x memory x gpu_memory_utilization > weights + activations"),
        Figure("kv_capacity_tokens", m.kv_capacity_tokens, "tokens", "memory left / KV bytes per token"),
        Figure("max_concurrency", m.concurrency, "requests", "KV capacity / (prompt + output)"),
    ]


def _speed(m: _Machine) -> list[Figure]:
    output = m.case.output_tokens
    latency_s = m.ttft_s + m.tpot_s * (output - 1)
    read_s, compute_s = m.decode_read_s(1), m.decode_flops / m.peak_flop_per_s
    kept_up = [
        name for name, wpm in formulas.READING_WORDS_PER_MINUTE.items() if m.tpot_s <= formulas.reading_tpot_s(wpm)
    ]
    return [
        Figure("prefill_flops", m.prefill_flops, "FLOP", "matrices + causal attention + head for one row"),
        Figure("ttft_s", m.ttft_s, "s", "prefill FLOPs / peak"),
        Figure("decode_flops", m.decode_flops, "FLOP", "matrices + attention over prompt + output/2 tokens"),
        Figure("decode_bytes", m.decode_read_s(1) * m.bytes_per_s, "B", "weights but the input embedding + KV so far"),
        Figure(
            "tpot_s",
            m.tpot_s,
            "s",
            f"longer of decode bytes / bandwidth ({read_s * 1e3:.3g} ms), FLOPs / peak ({compute_s * 1e3:.3g} ms)",
        ),
        Figure("tokens_per_s", 1 / m.tpot_s, "tok/s", "1 / TPOT"),
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
            "compute_bound_batch",
            compute_batch,
            "requests",
            "where batch x decode FLOPs / peak passes weights read / bandwidth; KV reads put it off",
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
    """Training time; cost and energy where price and power are known."""
    flops = formulas.TRAINING_OVER_FORWARD * formulas.quick_flops(TRAINING_TOKENS, m.model.active_parameters)
    days = formulas.training_seconds(flops, m.peak_flop_per_s, 1, TRAINING_UTILISATION) / 86400
    return [
        Figure("training_days", days, "days", "6 x active parameters x 1e12 tokens / (GPUs x peak x 0.45)"),
        *_cost(m),
        *_energy(m),
    ]


def _cost(m: _Machine) -> list[Figure]:
    price, source = m.case.price_per_hour, "of one GPU, as given"
    if price is None:
        price = m.case.accelerator.price_per_hour
        source = f"of one GPU, price_per_hour in the description of {m.case.accelerator.name}"
    if price is None:
        return []
    cost = m.gpus * price * _seconds_per_million(m) / 3600
    return [
        Figure("price_per_hour", price, "", source),
        Figure("cost_per_million_tokens", cost, "", "GPUs x price / output tokens per second"),
    ]


def _energy(m: _Machine) -> list[Figure]:
    power_w, source = m.case.power_w, "of one GPU, as given"
    formula = "GPUs x power / output tokens per second"
    if power_w is None:
        power_w, source = m.case.accelerator.power_w, f"TDP of one GPU, {_sheet(m.case.accelerator)}"
        formula = "GPUs x TDP / output tokens per second; TDP is an upper bound of what they draw"
    if power_w is None:
        return []
    energy = m.gpus * power_w * _seconds_per_million(m) / 3.6e6
    return [
        Figure("power_w", power_w, "W", source),
        Figure("energy_per_million_tokens", energy, "kWh", formula),
    ]


def _seconds_per_million(m: _Machine) -> float:
    """Time for a million output tokens at the largest batch."""
    rate = next(figure.value for figure in _load(m) if figure.name == "output_tokens_per_s")
    return 1e6 / float(rate)


def _compute_alone(m: _Machine) -> list[Figure]:
    """What is commonly worked out from FLOPs: right as a roof, far too fast for decoding a few requests."""
    prompt, peak = m.case.prompt_tokens, m.peak_flop_per_s
    quick, quick_decode = (formulas.quick_flops(tokens, m.model.matrix_parameters) for tokens in (prompt, 1))
    layers = m.layer_matrix_flops(prompt) + m.attention_flops(prompt**2)
    context = formulas.mean_decode_context(prompt, m.case.output_tokens)
    decode = m.layer_matrix_flops(1) + m.attention_flops(context)
    return [
        Figure("prefill_flops_quick", quick, "FLOP", "2 x matrix parameters x prompt"),
        Figure("ttft_quick_s", quick / peak, "s", "quick prefill FLOPs / peak"),
        Figure("prefill_flops_layers", layers, "FLOP", "layers without head, attention not causal"),
        Figure("ttft_layers_s", layers / peak, "s", "prefill FLOPs of the layers / peak"),
        Figure("ttft_layers_at_60_percent_s", layers / peak / PREFILL_UTILISATION, "s", "the same at 60 % of the peak"),
        Figure("decode_flops_quick", quick_decode, "FLOP", "2 x matrix parameters"),
        Figure("tokens_per_s_quick", peak / quick_decode, "tok/s", "peak / quick decode FLOPs: nothing is read"),
        Figure("decode_flops_layers", decode, "FLOP", "layers without head, context prompt + (1 + output)/2"),
        Figure("tokens_per_s_layers", peak / decode, "tok/s", "peak / decode FLOPs of the layers: nothing is read"),
        Figure(
            "compute_roof_tokens_per_s",
            peak / m.decode_flops,
            "tok/s",
            f"peak / decode FLOPs: {peak / m.decode_flops * m.tpot_s:.3g} times what one request alone gets",
        ),
    ]
