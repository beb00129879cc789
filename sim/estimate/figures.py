"""The figures of the answer, a function per section: value, unit and formula."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sim import formulas
from sim.estimate.machine import Machine
from sim.estimate.steps import steps_of
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.memory import tensor_parallel_sizes
from sim.specs.model import ModelSpec

TRAINING_TOKENS, TRAINING_UTILISATION = 1e12, 0.45
PREFILL_UTILISATION = 0.6
"""Share of the compute peak that a prefill is commonly said not to exceed."""
GB = 1e9


@dataclass(frozen=True)
class Figure:
    """One number of the answer, with its unit and the formula it comes from."""

    name: str
    value: float | str
    unit: str
    formula: str


def _sheet(accelerator: AcceleratorSpec) -> str:
    return f"from: {accelerator.source or f'the description of {accelerator.name}'}"


def limits(m: Machine) -> list[Figure]:
    """What the GPUs can do."""
    ridge, sheet = m.peak_flop_per_s / m.bytes_per_s, _sheet(m.case.accelerator)
    return [
        Figure("peak_flop_per_s", m.peak_flop_per_s, "FLOP/s", f"GPUs x dense {m.peak_dtype} peak, {sheet}"),
        Figure("memory_bytes_per_s", m.bytes_per_s, "B/s", "GPUs x memory bandwidth, from the same"),
        Figure("ridge_flop_per_byte", ridge, "FLOP/B", "peak / bandwidth: work below this intensity is memory-bound"),
    ]


def size(m: Machine) -> list[Figure]:
    """What the model and its requests take, whether that fits, and how many requests do if it does."""
    held, kv = _held(m), m.model.kv_bytes_per_token
    figures = [
        Figure("total_parameters", m.model.total_parameters, "", "embeddings + layers + head"),
        Figure("active_parameters", m.model.active_parameters, "", "what one token runs through, its experts only"),
        Figure("matrix_parameters", m.model.matrix_parameters, "", "active - input embedding, norms and biases"),
        Figure("weight_bytes", m.model.weight_bytes, "B", "parameters x bytes of their type"),
        Figure("kv_bytes_per_token", kv, "B", f"layers x {_cached(m.model)} x bytes, before any window drops it again"),
        Figure("kv_bytes_per_request", m.kv_bytes_per_request, "B", f"KV of {held}{_windows(m.model)}, on all GPUs"),
        *_draft_size(m),
        Figure("fits", _fits(m), "", f"{_room(m)} >= KV of one request"),
    ]
    if not m.fits:
        return figures
    return [
        *figures,
        Figure("kv_capacity_tokens", m.kv_capacity_tokens, "tokens", f"({_room(m)}) / KV of one request x ({held})"),
        Figure("max_concurrency", m.concurrency, "requests", f"KV capacity / ({held})"),
    ]


def _draft_size(m: Machine) -> list[Figure]:
    """What a draft model takes beside the model; of a token it keeps keys and values as the model does."""
    draft = m.case.engine.draft_model
    if draft is None:
        return []
    return [
        Figure("draft_weight_bytes", draft.weight_bytes, "B", f"of {draft.name}: parameters x bytes of their type"),
        Figure("draft_kv_bytes_per_token", draft.kv_bytes_per_token, "B", "part of the KV of every request"),
    ]


def _fits(m: Machine) -> str:
    """Yes, or on how many GPUs it would fit, and how much memory these ones lack."""
    if m.fits:
        return "yes"
    case, engine = m.case, m.case.engine
    lacking = (m.kv_bytes_per_request - m.kv_room_bytes) / m.gpus / engine.gpu_memory_utilization / GB
    short = f"no, {lacking:.1f} GB short{' on each' if m.gpus > 1 else ''}"
    models = [m.model] if engine.draft_model is None else [m.model, engine.draft_model]
    for size in tensor_parallel_sizes(*models):
        split = engine.model_copy(update={"tensor_parallel_size": size})
        if size > m.gpus and Machine(replace(case, engine=split)).fits:
            return f"{short}: needs at least {size} GPUs"
    return short


def _room(m: Machine) -> str:
    if m.case.engine.num_gpu_blocks is not None:
        return "num_gpu_blocks x block_size x KV bytes per token"
    both = "weights of both models" if m.case.engine.draft_model else "weights"
    activations = "" if m.case.engine.activations_apart else " - activations"
    return f"GPUs x memory x gpu_memory_utilization - {both}{activations}"


def _held(m: Machine) -> str:
    return "max_model_len tokens, reserved" if m.reserved_tokens else "prompt + output"


def _cached(model: ModelSpec) -> str:
    return "(kv_lora_rank + qk_rope_head_dim)" if model.latent_attention else "2 x KV heads x head_dim"


def _windows(model: ModelSpec) -> str:
    """What a formula adds when some layers look back only so far."""
    windowed = model.windowed_layers
    return f" (at most {windowed.window_tokens} tokens in {windowed.num_layers} layers)" if windowed else ""


def speed(m: Machine) -> list[Figure]:
    """Work and times of one request that has the machine to itself."""
    latency_s = formulas.latency_s(m.ttft_s, m.tpot_s, m.case.output_tokens)
    windows, absorbed = _windows(m.model), " in latent space" if m.model.latent_attention else ""
    read_s, compute_s = m.decode_read_s(1), m.decode_flops / m.peak_flop_per_s
    kept_up = [
        name for name, wpm in formulas.READING_WORDS_PER_MINUTE.items() if m.tpot_s <= formulas.reading_tpot_s(wpm)
    ]
    return [
        Figure("prefill_flops", m.prefill_flops, "FLOP", f"matrices + causal attention{windows} + head for one row"),
        Figure("ttft_s", m.ttft_s, "s", "longer of prefill FLOPs / peak, weights / bandwidth"),
        Figure(
            "decode_flops",
            m.decode_flops,
            "FLOP",
            f"matrices + attention{absorbed} over prompt + output/2 tokens{windows}",
        ),
        Figure(
            "decode_bytes",
            m.decode_read_s(1) * m.bytes_per_s,
            "B",
            f"weights but the input embedding{_experts(m.model)} + KV so far{windows}",
        ),
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


def _experts(model: ModelSpec) -> str:
    return " and experts not chosen" if model.experts else ""


def load(m: Machine) -> list[Figure]:
    """The batch that compute, bandwidth or KV memory allows, and the request rate that goes with the smallest."""
    compute_batch = m.weight_bytes_read(math.inf) / m.bytes_per_s * m.peak_flop_per_s / m.decode_flops
    batch, step_s = m.largest_batch, m.decode_step_s(m.largest_batch)
    bound = "KV memory" if m.concurrency < m.case.engine.max_num_seqs else "seats"
    resource = "bandwidth" if m.decode_read_s(batch) >= step_s else "compute"
    return [
        Figure(
            "compute_bound_batch",
            compute_batch,
            "requests",
            "where batch x decode FLOPs / peak passes all weights / bandwidth; KV reads put it off",
        ),
        Figure("largest_batch", batch, "requests", "min(max_concurrency, max_num_seqs)"),
        Figure("tpot_at_largest_batch_s", step_s, "s", "as TPOT, with that many caches and all their experts to read"),
        Figure("output_tokens_per_s", _output_tokens_per_s(m), "tok/s", "output x requests per second"),
        Figure("requests_per_s", m.requests_per_s, "1/s", "1 / (prefill FLOPs / peak + (output - 1) x step / batch)"),
        Figure("binds", f"the batch: {bound}, its steps: {resource}", "", "the smallest of the limits above"),
    ]


def by_kernels(m: Machine) -> list[Figure]:
    """The same times by the cost model that the simulator takes by default; nothing without a peak for the model."""
    steps = steps_of(m)
    if steps is None:
        return []
    batch, prefill_s, alone_s = int(m.largest_batch), steps.prefill_s, steps.decode_s(1)
    full_s = steps.decode_s(batch)
    requests_per_s = 1 / (prefill_s + (m.case.output_tokens - 1) * full_s / batch)
    half_way = "at prompt + output/2 tokens each"
    return [
        Figure("ttft_by_kernels_s", prefill_s, "s", "the prompt's iterations, alone"),
        Figure("tpot_by_kernels_s", alone_s, "s", f"an iteration of one decode {half_way}"),
        Figure("one_goes_to", steps.resources(1), "", "shares of that iteration"),
        Figure("tpot_by_kernels_at_largest_batch_s", full_s, "s", f"an iteration of the largest batch {half_way}"),
        Figure("largest_batch_goes_to", steps.resources(batch), "", "shares of that iteration"),
        Figure("output_tokens_per_s_by_kernels", m.case.output_tokens * requests_per_s, "tok/s", "output x requests/s"),
        Figure("requests_per_s_by_kernels", requests_per_s, "1/s", "1 / (TTFT + (output - 1) x iteration / batch)"),
    ]


def beyond(m: Machine) -> list[Figure]:
    """Training time; cost and energy where price and power are known."""
    flops = formulas.TRAINING_OVER_FORWARD * formulas.quick_flops(TRAINING_TOKENS, m.model.active_parameters)
    days = formulas.training_seconds(flops, m.peak_flop_per_s, 1, TRAINING_UTILISATION) / 86400
    return [
        Figure("training_days_for_1e12_tokens", days, "days", "6 x active parameters x 10^12 / (GPUs x peak x 0.45)"),
        *_cost(m),
        *_energy(m),
    ]


def _cost(m: Machine) -> list[Figure]:
    price, source = m.case.price_per_hour, "of one GPU, as given"
    if price is None:
        price = m.case.accelerator.price_per_hour
        source = f"of one GPU, price_per_hour in the description of {m.case.accelerator.name}"
    if price is None:
        return []
    cost = m.gpus * price * 1e6 / _output_tokens_per_s(m) / 3600
    return [
        Figure("price_per_hour", price, "", source),
        Figure("cost_per_million_tokens", cost, "", "GPUs x price / output tokens per second"),
    ]


def _energy(m: Machine) -> list[Figure]:
    power_w, source = m.case.power_w, "of one GPU, as given"
    formula = "GPUs x power / output tokens per second"
    if power_w is None:
        power_w, source = m.case.accelerator.power_w, f"TDP of one GPU, {_sheet(m.case.accelerator)}"
        formula = "GPUs x TDP / output tokens per second; TDP is an upper bound of what they draw"
    if power_w is None:
        return []
    energy = m.gpus * power_w * 1e6 / _output_tokens_per_s(m) / 3.6e6
    return [
        Figure("power_w", power_w, "W", source),
        Figure("energy_per_million_tokens", energy, "kWh", formula),
    ]


def _output_tokens_per_s(m: Machine) -> float:
    return m.case.output_tokens * m.requests_per_s


def compute_alone(m: Machine) -> list[Figure]:
    """What is commonly worked out from FLOPs: right as a roof, far too fast for decoding a few requests."""
    prompt, peak = m.case.prompt_tokens, m.peak_flop_per_s
    quick, quick_decode = (formulas.quick_flops(tokens, m.model.matrix_parameters) for tokens in (prompt, 1))
    pairs = m.over_layers(lambda window: prompt * min(prompt, window))
    context = m.over_layers(lambda window: formulas.mean_decode_context(prompt, m.case.output_tokens, window))
    layers = m.layer_matrix_flops(prompt) + m.prefill_flops_per_pair * pairs
    decode = m.layer_matrix_flops(1) + m.decode_flops_per_pair * context
    return [
        Figure("prefill_flops_quick", quick, "FLOP", "2 x matrix parameters x prompt"),
        Figure("ttft_quick_s", quick / peak, "s", "quick prefill FLOPs / peak"),
        Figure("prefill_flops_layers", layers, "FLOP", f"layers without head, attention not causal{_windows(m.model)}"),
        Figure("ttft_layers_s", layers / peak, "s", "prefill FLOPs of the layers / peak"),
        Figure("ttft_layers_at_60_percent_s", layers / peak / PREFILL_UTILISATION, "s", "the same at 60 % of the peak"),
        Figure("decode_flops_quick", quick_decode, "FLOP", "2 x matrix parameters"),
        Figure("tokens_per_s_quick", peak / quick_decode, "tok/s", "peak / quick decode FLOPs: nothing is read"),
        Figure(
            "decode_flops_layers",
            decode,
            "FLOP",
            f"layers without head, context prompt + (1 + output)/2{_windows(m.model)}",
        ),
        Figure("tokens_per_s_layers", peak / decode, "tok/s", "peak / decode FLOPs of the layers: nothing is read"),
        Figure(
            "compute_roof_tokens_per_s",
            peak / m.decode_flops,
            "tok/s",
            f"peak / decode FLOPs: {peak / m.decode_flops * m.tpot_s:.3g} times what one request alone gets",
        ),
    ]
