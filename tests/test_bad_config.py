"""A config that cannot be used is refused in one line: the field as the user wrote it, the value, what is allowed."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path

import pytest
import yaml

from sim.config import apply_override, experiment_from, load_experiment
from sim.errors import InputError
from sim.specs.yaml_file import parse_yaml
from sim.workload.source import build_workload

GONE = object()
NO_GENERATOR = {"workload.arrivals": GONE, "workload.lengths": GONE, "workload.num_requests": GONE}

BASE = {
    "name": "small",
    "model": "llama-3.1-8b",
    "accelerator": "a100-80gb-sxm",
    "engine": {"preset": "vllm-v1", "max_model_len": 8192},
    "workload": {
        "arrivals": {"process": "poisson", "rate": 2.0},
        "lengths": {
            "prompt": {"distribution": "fixed", "value": 100},
            "output": {"distribution": "geometric", "mean": 50},
        },
        "num_requests": 50,
    },
}
MODEL = {
    "name": "mine",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
GPU = {
    "name": "mine",
    "memory_bytes": 80_000_000_000,
    "memory_bytes_per_s": 2e12,
    "peak_flop_per_s": {"bfloat16": 3e14},
    "link_bytes_per_s": 6e11,
}
HF = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def changed(overrides):
    """BASE with dotted keys set, in this order, or removed where the value is GONE."""
    data = copy.deepcopy(BASE)
    for key, value in overrides.items():
        *sections, leaf = key.split(".")
        target = data
        for section in sections:
            target = target.setdefault(section, {})
        if value is GONE:
            del target[leaf]
        else:
            target[leaf] = value
    return data


def refusal(read, *args):
    """The one-line message with which `read` refuses its arguments."""
    with pytest.raises(InputError) as caught:
        read(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def all_in(message, fragments):
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"


def lengths(**prompt):
    return {"workload.lengths.prompt": prompt}


def arrivals(**values):
    return {"workload.arrivals": values}


def closed(users=4, think=None):
    return arrivals(process="closed_loop", users=users, **({"think_time_s": think} if think else {}))


def cost(**values):
    return {"cost": values}


def trace(**values):
    return {**NO_GENERATOR, "workload.trace": values}


def prefix(**changes):
    return {"workload.shared_prefix": {"num_prefixes": 4, "tokens": 64} | changes}


def conversations(**changes):
    return {"workload.conversations": {"turns": 3} | changes}


def piecewise(*rates):
    return arrivals(process="piecewise", rates=[{"until_s": until_s, "rate": rate} for until_s, rate in rates])


def diurnal(**changes):
    return arrivals(**({"process": "diurnal", "mean_rate": 4.0, "amplitude": 0.5, "period_s": 86400} | changes))


UNKNOWN_KEYS = [
    ("top", {"modle": "x"}, ["modle", "'model'"]),
    ("section", {"engin": {}}, ["engin", "'engine'"]),
    ("engine", {"engine.max_num_seq": 8}, ["engine.max_num_seq", "'max_num_seqs'"]),
    ("workload", {"workload.arrival": {}}, ["workload.arrival", "'arrivals'"]),
    ("arrivals", {"workload.arrivals.rte": 1}, ["workload.arrivals.rte", "'rate'"]),
    ("piece", arrivals(process="piecewise", rates=[{"until": 3}]), ["workload.arrivals.rates.0", "until_s"]),
    ("lengths", {"workload.lengths.promt": {}}, ["workload.lengths.promt", "'prompt'"]),
    (
        "of_both",
        {"workload.lengths.distribution": "fixed"},
        ["workload.lengths.distribution: ", "known: output, prompt"],
    ),
    ("distribution", {"workload.lengths.prompt.valu": 3}, ["workload.lengths.prompt.valu", "'value'"]),
    ("other_kinds_key", {"workload.lengths.output.cv": 1.0}, ["workload.lengths.output.cv", "mean"]),
    ("trace", trace(path="t.csv", format="csv", timescale=2.0), ["workload.trace.timescale", "'time_scale'"]),
    ("prefix", prefix(num_prefix=4), ["workload.shared_prefix.num_prefix", "'num_prefixes'"]),
    ("repeats", {"workload.repeat_probabilty": 0.5}, ["workload.repeat_probabilty", "'repeat_probability'"]),
    ("conversations", conversations(turn=3), ["workload.conversations.turn", "'turns'"]),
    (
        "turns",
        conversations(turns={"distribution": "fixed", "value": 3, "valu": 3}),
        ["conversations.turns.valu", "'value'"],
    ),
    ("cost", cost(kind="roofline", host_per_stp_s=1e-3), ["cost.host_per_stp_s", "'host_per_step_s'"]),
    ("model", {"model": MODEL | {"hidden_siz": 3}}, ["model.hidden_siz", "'hidden_size'"]),
    ("accelerator", {"accelerator": GPU | {"memory_byte": 3}}, ["accelerator.memory_byte", "'memory_bytes'"]),
    (
        "efficiency",
        {"accelerator": GPU | {"efficiency": {"gem_compute": 0.5}}},
        ["accelerator.efficiency.gem_compute", "'gemm_compute'"],
    ),
]

WRONG_TYPES = [
    ("text_for_number", {"workload.arrivals.rate": "2"}, ["workload.arrivals.rate", "'2'", "must be"]),
    ("text_for_count", {"engine.max_num_seqs": "8"}, ["engine.max_num_seqs", "'8'", "must be"]),
    ("number_for_text", {"name": 3}, ["name", "3", "must be"]),
    ("list_for_section", {"workload": [1]}, ["workload", "[1]", "must be"]),
    ("name_for_section", {"engine": "vllm-v1"}, ["engine", "'vllm-v1'", "must be"]),
    ("fraction_for_length", {"workload.lengths.prompt": 1.5}, ["workload.lengths.prompt", "1.5", "whole number"]),
    ("bool_for_count", {"workload.num_requests": True}, ["workload.num_requests", "True", "must be"]),
    ("bool_for_rate", {"workload.arrivals.rate": True}, ["workload.arrivals.rate", "True", "must be"]),
    ("number_for_bool", {"engine.enable_chunked_prefill": 1}, ["engine.enable_chunked_prefill", "1", "must be"]),
    ("fraction_for_count", {"workload.num_requests": 1.5}, ["workload.num_requests", "1.5", "must be"]),
    ("number_for_pieces", arrivals(process="piecewise", rates=3), ["workload.arrivals.rates", "3", "must be a list"]),
    ("number_for_piece", arrivals(process="piecewise", rates=[3]), ["workload.arrivals.rates.0", "3", "must be"]),
    ("null_rate", {"workload.arrivals.rate": None}, ["workload.arrivals.rate", "None", "must be"]),
    ("null_section", {"workload": None}, ["workload", "None", "must be"]),
    ("null_model", {"model": None}, ["model:", "None", "must be"]),
    ("priority_not_a_number", {"workload.priorities": {"high": 1.0}}, ["workload.priorities", "'high'", "must be"]),
    ("text_for_prefix", prefix(tokens="64"), ["workload.shared_prefix.tokens", "'64'", "whole number", "distribution"]),
    ("fraction_for_turns", conversations(turns=2.5), ["workload.conversations.turns", "2.5", "whole number"]),
    ("bool_for_turns", conversations(turns=True), ["workload.conversations.turns", "True", "whole number"]),
    ("text_for_thinking", conversations(think_time_s="a"), ["workload.conversations.think_time_s", "'a'", "must be"]),
    ("number_for_vary", {"vary": 3}, ["vary", "got 3", "must be a mapping"]),
    ("name_for_values", {"vary": {"seed": 3}}, ["vary.seed", "got 3", "must be a list"]),
    ("number_for_key", {"vary": {3: [1, 2]}}, ["vary.3", "got 3", "must be text"]),
    ("number_for_prefix", {"workload.shared_prefix": 64}, ["workload.shared_prefix", "64", "must be"]),
    ("text_for_repeats", {"workload.repeat_probability": "half"}, ["workload.repeat_probability", "'half'", "must be"]),
    ("gate_alias", {"engine.scheduler_reserve_full_isl": "yes"}, ["engine.scheduler_reserve_full_isl", "'yes'"]),
    (
        "ignored_key",
        {"engine.preset": "orca", "engine.max_num_batched_tokens": "many"},
        ["max_num_batched_tokens", "'many'"],
    ),
]

OUT_OF_RANGE = [
    ("rate_zero", {"workload.arrivals.rate": 0}, ["workload.arrivals.rate", "got 0", "greater than 0"]),
    ("rate_negative", {"workload.arrivals.rate": -1.0}, ["workload.arrivals.rate", "-1.0", "greater than 0"]),
    ("rate_nan", {"workload.arrivals.rate": math.nan}, ["workload.arrivals.rate", "nan", "finite"]),
    ("rate_infinite", {"workload.arrivals.rate": math.inf}, ["workload.arrivals.rate", "inf", "finite"]),
    ("rate_overflows", {"workload.arrivals.rate": 1e-320}, ["workload.arrivals.rate", "raise it"]),
    ("rate_below_clock", {"workload.arrivals.rate": 1e-300}, ["workload.arrivals.rate", "raise it"]),
    ("no_pieces", piecewise(), ["workload.arrivals: ", "rates is empty", "at least one"]),
    ("pieces_backwards", piecewise((60, 2), (60, 8)), ["workload.arrivals: ", "until_s 60 follows 60", "order"]),
    ("piece_until_zero", piecewise((0, 2)), ["workload.arrivals.rates.0.until_s", "got 0", "greater than 0"]),
    ("piece_negative", piecewise((60, 2), (120, -1)), ["workload.arrivals.rates.1.rate", "-1", "0"]),
    ("pieces_end_silent", piecewise((60, 2), (120, 0)), ["workload.arrivals: ", "last rate is 0", "above 0"]),
    ("pieces_below_clock", piecewise((60, 1e-300)), ["workload.arrivals: ", "raise the rate"]),
    ("diurnal_mean", diurnal(mean_rate=0), ["workload.arrivals.mean_rate", "got 0", "greater than 0"]),
    ("amplitude_one", diurnal(amplitude=1.0), ["workload.arrivals.amplitude", "1.0", "less than 1"]),
    ("amplitude_negative", diurnal(amplitude=-0.1), ["workload.arrivals.amplitude", "-0.1", "0"]),
    ("period_zero", diurnal(period_s=0), ["workload.arrivals.period_s", "got 0", "greater than 0"]),
    ("diurnal_below_clock", diurnal(mean_rate=1e-300), ["workload.arrivals: ", "raise the rate"]),
    ("cv_zero", arrivals(process="gamma", rate=1.0, cv=0), ["workload.arrivals.cv", "got 0", "0.001"]),
    ("cv_nan", arrivals(process="gamma", rate=1.0, cv=math.nan), ["workload.arrivals.cv", "nan", "finite"]),
    ("cv_huge", arrivals(process="gamma", rate=1.0, cv=1e200), ["workload.arrivals.cv", "1e+200"]),
    ("cv_tiny", arrivals(process="gamma", rate=1.0, cv=1e-200), ["workload.arrivals.cv", "1e-200"]),
    ("count_zero", {"workload.num_requests": 0}, ["workload.num_requests", "got 0", "1"]),
    ("count_negative", {"workload.num_requests": -5}, ["workload.num_requests", "-5", "1"]),
    ("count_unpayable", {"workload.num_requests": 10**15}, ["workload.num_requests", str(10**15)]),
    ("seed_negative", {"seed": -1}, ["seed", "-1", "0"]),
    ("prompt_zero", lengths(distribution="fixed", value=0), ["workload.lengths.prompt.value", "got 0", "1"]),
    ("prompt_huge", lengths(distribution="fixed", value=10**30), ["workload.lengths.prompt"]),
    ("uniform_huge", lengths(distribution="uniform", low=1, high=2**63), ["workload.lengths.prompt"]),
    (
        "uniform_swapped",
        lengths(distribution="uniform", low=5, high=3),
        ["workload.lengths.prompt: ", "low 5", "high 3", "swap"],
    ),
    (
        "mean_infinite",
        lengths(distribution="geometric", mean=math.inf),
        ["workload.lengths.prompt.mean", "inf", "finite"],
    ),
    ("mean_huge", lengths(distribution="geometric", mean=1e300), ["workload.lengths"]),
    ("length_cv_huge", lengths(distribution="lognormal", mean=100, cv=1e200), ["workload.lengths"]),
    ("slo_zero", {"slo": {"p99_ttft": 0}}, ["slo.p99_ttft", "got 0", "greater than 0"]),
    ("priority_share", {"workload.priorities": {0: -1.0}}, ["workload.priorities.0", "-1.0", "greater than 0"]),
    ("tenant_share", {"workload.tenants": {"a": 0}}, ["workload.tenants.a", "got 0", "greater than 0"]),
    ("priority_huge", {"workload.priorities": {10**30: 1.0}}, ["workload.priorities.1000000", "less than", str(2**53)]),
    ("no_tenants", {"workload.tenants": {}}, ["workload.tenants"]),
    ("no_users", closed(users=0), ["workload.arrivals.users", "got 0", "1"]),
    ("users_fraction", closed(users=1.5), ["workload.arrivals.users", "1.5", "whole number"]),
    ("think_fixed_zero", closed(think={"distribution": "fixed", "value": 0}), ["think_time_s.value", "0", "greater"]),
    ("think_unknown", closed(think={"distribution": "normal", "mean": 1}), ["think_time_s", "'normal'"]),
    ("think_too_long", closed(think={"distribution": "fixed", "value": 1e9}), ["think_time_s: lower it"]),
    ("no_prefixes", prefix(num_prefixes=0), ["workload.shared_prefix.num_prefixes", "got 0", "1"]),
    ("prefix_empty", prefix(tokens=0), ["workload.shared_prefix.tokens.value", "got 0", "1"]),
    ("zipf_negative", prefix(zipf_exponent=-1.0), ["workload.shared_prefix.zipf_exponent", "-1.0", "0"]),
    ("zipf_huge", prefix(zipf_exponent=1e9), ["workload.shared_prefix.zipf_exponent", "1000000000.0", "10"]),
    (
        "prefix_too_long",
        prefix(tokens=8191),
        ["workload.shared_prefix.tokens", "8191 tokens", "8192", "engine.max_model_len", "shorten", "raise"],
    ),
    (
        "prefix_over_memory",
        {**prefix(tokens=400), "engine.num_gpu_blocks": 20},
        ["workload.shared_prefix.tokens", "400 tokens", "304", "raise engine.num_gpu_blocks"],
    ),
    (
        "no_room_after_the_prefix",
        {**prefix(tokens=8150), **lengths(distribution="fixed", value=100)},
        ["workload.lengths", "8150 of them in a shared prefix", "8192", "shorten", "engine.max_model_len"],
    ),
    ("repeats_negative", {"workload.repeat_probability": -0.1}, ["workload.repeat_probability", "-0.1", "0"]),
    ("repeats_above_one", {"workload.repeat_probability": 1.1}, ["workload.repeat_probability", "1.1", "1"]),
    ("no_turns", conversations(turns=0), ["workload.conversations.turns.value", "got 0", "1"]),
    (
        "turn_thinking_zero",
        conversations(think_time_s={"distribution": "fixed", "value": 0}),
        ["workload.conversations.think_time_s.value", "got 0", "greater"],
    ),
    (
        "turn_thinking_too_long",
        {**conversations(turns=10, think_time_s={"distribution": "fixed", "value": 1e9})},
        ["workload.conversations.think_time_s: lower it"],
    ),
    (
        "thinking_of_users_too_long",
        {
            **closed(think={"distribution": "fixed", "value": 1e9}),
            **conversations(turns=1),
            "workload.num_requests": 100,
        },
        ["workload.arrivals.think_time_s: lower it"],
    ),
    ("no_values", {"vary": {"engine.preset": []}}, ["vary.engine.preset", "got []", "at least one", "drop"]),
    ("value_twice", {"vary": {"seed": [1, 2, 1]}}, ["vary.seed", "[1, 2, 1]", "twice", "drop one"]),
    ("nothing_twice", {"vary": {"seed": [None, None]}}, ["vary.seed", "[None, None]", "twice"]),
    ("no_key", {"vary": {"engine.": [1, 2]}}, ["vary.engine.", "'engine.'", "such as engine.preset", "correct it"]),
    ("max_new_tokens", {"workload.max_new_tokens": 0}, ["workload.max_new_tokens", "got 0", "1"]),
    ("predictor_cv", {"workload.output_predictor": {"error_cv": -1.0}}, ["output_predictor.error_cv", "-1.0", "0"]),
    ("predictor_empty", {"workload.output_predictor": {}}, ["workload.output_predictor", "error_cv"]),
    ("unpredicted", {"engine.order": "shortest_predicted"}, ["workload.output_predictor", "missing", "error_cv: 0"]),
    ("no_priorities", {"workload.priorities": {}}, ["workload.priorities"]),
    ("utilization", {"engine.gpu_memory_utilization": 92}, ["engine.gpu_memory_utilization", "92", "1"]),
    ("watermark", {"engine.watermark": 1.0}, ["engine.watermark", "1.0", "less than 1"]),
    ("step_time_zero", cost(kind="constant", step_s=0.0), ["cost.step_s", "0.0", "greater than 0"]),
    ("costs_nothing", cost(kind="affine", per_step_s=0.0), ["cost", "0"]),
    ("efficiency", {"accelerator": GPU | {"efficiency": {"link": 1.5}}}, ["accelerator.efficiency.link", "1.5", "1"]),
    ("peak_negative", {"accelerator": GPU | {"peak_flop_per_s": {"bfloat16": -1.0}}}, ["peak_flop_per_s", "-1.0", "0"]),
    ("jitter", trace(path="t.csv", format="csv", jitter_s=-1.0), ["workload.trace.jitter_s", "-1.0", "0"]),
    ("time_scale", trace(path="t.csv", format="csv", time_scale=0.0), ["workload.trace.time_scale", "0.0", "0"]),
]

UNKNOWN_NAMES = [
    ("model", {"model": "llama-31-8b"}, ["model", "'llama-31-8b'", "did you mean 'llama-3.1-8b'", "qwen3-32b"]),
    ("accelerator", {"accelerator": "H100"}, ["accelerator", "'H100'", "did you mean 'h100-nvl'", "h100-sxm"]),
    ("accelerator_prefix", {"accelerator": "a100"}, ["accelerator", "'a100'", "did you mean 'a100"]),
    ("preset", {"engine.preset": "vllm"}, ["engine.preset", "'vllm'", "'vllm-v1'", "orca", "static"]),
    ("process", {"workload.arrivals.process": "posson"}, ["workload.arrivals.process", "did you mean 'poisson'"]),
    (
        "distribution",
        {"workload.lengths.prompt.distribution": "fixd"},
        ["workload.lengths.prompt.distribution", "did you mean 'fixed'", "lognormal"],
    ),
    (
        "shape",
        {"workload.lengths": {"distribution": "azure-conversation"}},
        ["workload.lengths.distribution", "'azure-conversation'", "'azure-2023-conversation'"],
    ),
    ("cost_kind", cost(kind="rooflin"), ["cost.kind", "did you mean 'roofline'", "per_request"]),
    (
        "pipeline",
        {"engine.pipeline_parallel_size": 2},
        ["engine.pipeline_parallel_size", "got 2", "pipeline parallelism is not modelled yet", "tensor_parallel_size"],
    ),
    ("data_parallel", {"engine.data_parallel_size": 4}, ["engine.data_parallel_size", "got 4", "not modelled yet"]),
    ("expert_parallel", {"engine.enable_expert_parallel": True}, ["engine.enable_expert_parallel", "got True"]),
    ("order", {"engine.order": "prority"}, ["engine.order", "'prority'", "did you mean 'priority'", "fcfs"]),
    ("order_alias", {"engine.scheduling_policy": "prority"}, ["engine.scheduling_policy", "'prority'", "'priority'"]),
    ("gate", {"engine.gate": "first_chnk"}, ["engine.gate", "did you mean 'first_chunk'", "whole_prompt"]),
    ("trace_format", trace(path="t.csv", format="azur"), ["workload.trace.format", "'azur'", "'azure'", "csv"]),
    ("slo", {"slo": {"p99_tft": 0.1}}, ["slo", "'p99_tft'", "did you mean 'p99_ttft'"]),
    ("name", {"name": "a b"}, ["name", "'a b'", "letters"]),
    ("name_escapes_folder", {"name": "../x"}, ["name", "'../x'", "letters"]),
    ("model_dtype", {"model": MODEL | {"dtype": "bf16"}}, ["model.dtype", "'bf16'", "did you mean 'bfloat16'"]),
    (
        "peak_dtype",
        {"accelerator": GPU | {"peak_flop_per_s": {"bf16": 3e14}}},
        ["accelerator.peak_flop_per_s", "'bf16'", "bfloat16"],
    ),
    (
        "no_peak_for_the_model",
        {"accelerator": GPU | {"peak_flop_per_s": {"float32": 1e14}}},
        ["peak_flop_per_s", "bfloat16", "float32"],
    ),
    ("model_file", {"model": "models/no.yaml"}, ["model", "models/no.yaml", "relative to the config"]),
    ("trace_file", trace(path="no.csv", format="csv"), ["workload.trace.path", "no.csv", "relative to the config"]),
    ("endless_path", trace(path="a" * 5000, format="csv"), ["workload.trace.path"]),
]

MISSING = [
    ("model", {"model": GONE}, ["model", "missing"]),
    ("accelerator", {"accelerator": GONE}, ["accelerator", "missing"]),
    ("workload", {"workload": GONE}, ["workload", "missing"]),
    ("arrivals", {"workload.arrivals": GONE}, ["workload", "arrivals", "missing", "trace"]),
    ("turns", {"workload.conversations": {}}, ["workload.conversations.turns", "missing"]),
    ("prefix_tokens", {"workload.shared_prefix": {"num_prefixes": 2}}, ["workload.shared_prefix.tokens", "missing"]),
    ("turns_kind", conversations(turns={"mean": 3}), ["workload.conversations.turns", "distribution", "geometric"]),
    ("count", {"workload.num_requests": GONE}, ["workload", "num_requests", "missing", "trace"]),
    ("output", {"workload.lengths.output": GONE}, ["workload.lengths.output", "missing"]),
    ("cv", {"workload.arrivals.process": "gamma"}, ["workload.arrivals.cv", "missing"]),
    ("trace_format", trace(path="t.csv"), ["workload.trace.format", "missing"]),
    ("process", arrivals(rate=3.0), ["workload.arrivals", "process", "poisson", "gamma"]),
    ("distribution", lengths(value=3), ["workload.lengths.prompt", "distribution", "fixed", "geometric"]),
    ("cost_kind", cost(step_s=1.0), ["cost", "kind", "constant", "roofline"]),
    (
        "service_mean",
        cost(kind="per_request", service_s={"distribution": "fixed"}),
        ["cost.service_s.value", "missing"],
    ),
]

CONTRADICTIONS = [
    (
        "trace_and_arrivals",
        {"workload.trace": {"path": "t.csv", "format": "csv"}},
        ["workload", "trace", "arrivals", "drop one"],
    ),
    *(
        (f"trace_and_{key}", {**trace(path="t.csv", format="csv"), **given}, ["workload", "trace", key, "drop one"])
        for key, given in {
            "shared_prefix": prefix(),
            "repeat_probability": {"workload.repeat_probability": 0.5},
            "conversations": conversations(),
        }.items()
    ),
    (
        "conversations_and_repeats",
        {**conversations(), "workload.repeat_probability": 0.5},
        ["workload", "conversations and repeat_probability exclude each other", "drop one"],
    ),
    (
        "alias_after",
        {"engine.num_gpu_blocks": 9000, "engine.num_gpu_blocks_override": 9000},
        ["engine.num_gpu_blocks_override", "sets num_gpu_blocks", "keep one"],
    ),
    (
        "alias_before",
        {"engine.num_gpu_blocks_override": 9000, "engine.num_gpu_blocks": 9000},
        ["engine.num_gpu_blocks_override", "sets num_gpu_blocks", "keep one"],
    ),
    (
        "two_aliases",
        {"engine.policy": "fcfs", "engine.scheduling_policy": "fcfs"},
        ["engine.policy", "engine.scheduling_policy", "keep one"],
    ),
    (
        "gate_alias",
        {"engine.gate": "whole_prompt", "engine.scheduler_reserve_full_isl": True},
        ["engine.scheduler_reserve_full_isl", "gate", "keep one"],
    ),
    (
        "several_runs",
        {"vary": {"engine.preset": ["static", "orca"], "seed": [1, 2]}},
        ["vary", "engine.preset, seed", "single experiment", "servesim sweep", "--set vary={}", "engine.preset="],
    ),
    (
        "two_sizes_of_the_pool",
        {"engine.kv_pool_tokens": 32768, "engine.num_gpu_blocks": 2000},
        ["engine", "kv_pool_tokens 32768", "num_gpu_blocks 2000", "keep one"],
    ),
    ("slot_gate_on_pages", {"engine.gate": "slot"}, ["engine", "gate slot", "paged", "drop gate"]),
    (
        "timeout_without_batch",
        {"engine.formation_timeout_s": 1.0},
        ["engine", "formation_timeout_s 1", "drain_then_fill"],
    ),
    ("batch_end_without_batch", {"engine.release": "batch_end"}, ["engine", "batch_end", "use on_finish"]),
    (
        "single_server",
        cost(kind="per_request", service_s={"distribution": "exponential", "mean": 1.0}),
        ["engine.max_num_seqs", "256", "must be 1", "per_request"],
    ),
    (
        "unchunked_budget",
        {"engine.enable_chunked_prefill": False, "engine.max_num_batched_tokens": 512},
        ["engine.max_num_batched_tokens", "512", "8192", "chunking"],
    ),
    ("head_groups", {"model": MODEL | {"num_key_value_heads": 7}}, ["model", "num_key_value_heads 7", "32"]),
    (
        "prompt_over_model_len",
        lengths(distribution="fixed", value=9000),
        ["workload.lengths", "9", "8192", "engine.max_model_len", "shorten"],
    ),
    (
        "prompt_over_memory",
        {**lengths(distribution="fixed", value=2000), "engine.num_gpu_blocks": 20},
        ["workload.lengths", "304 tokens", "engine.num_gpu_blocks"],
    ),
    ("only_the_null_block", {"engine.num_gpu_blocks": 1}, ["engine.num_gpu_blocks", "1"]),
    (
        "slot_over_memory",
        {"engine.preset": "orca", "engine.num_gpu_blocks": 100},
        ["engine.max_model_len", "512 blocks", "100", "1600", "num_gpu_blocks"],
    ),
]

DOES_NOT_FIT = [
    (
        "tensor_parallel",
        {"engine.tensor_parallel_size": 3},
        ["engine.tensor_parallel_size", "3", "32 attention heads", "1, 2, 4, 8"],
    ),
    (
        "weights",
        {"model": "llama-3.1-70b"},
        ["model", "64.3 GB short", "141.1 GB", "engine.tensor_parallel_size to 2", "b200-sxm", "mi300x"],
    ),
    (
        "utilization",
        {"engine.gpu_memory_utilization": 0.1},
        ["8.8 GB short", "engine.gpu_memory_utilization"],
    ),
    (
        "activations",
        {"engine.max_num_batched_tokens": 10**6},
        ["engine.max_num_batched_tokens", "1000000", "57.6 GB short"],
    ),
]

GROUPS = {
    "unknown_key": UNKNOWN_KEYS,
    "wrong_type": WRONG_TYPES,
    "out_of_range": OUT_OF_RANGE,
    "unknown_name": UNKNOWN_NAMES,
    "missing": MISSING,
    "contradiction": CONTRADICTIONS,
    "does_not_fit": DOES_NOT_FIT,
}


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [pytest.param(*row, id=f"{group}-{name}") for group, rows in GROUPS.items() for name, *row in rows],
)
def test_bad_config_is_refused(overrides, fragments):
    def read():
        build_workload(experiment_from(changed(overrides)))

    all_in(refusal(read), fragments)


def test_base_is_a_good_config():
    assert len(build_workload(experiment_from(BASE))) == 50


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ({"engine.preset": "orca", "engine.max_num_batched_tokens": 512}, ["max_num_batched_tokens 512", "no effect"]),
        ({"engine.num_gpu_blocks": 10**6}, ["num_gpu_blocks 1000000", "hypothetical"]),
        ({"engine.num_gpu_blocks": 1000, "engine.max_model_len": None}, ["max_model_len is 15984", "131072"]),
        ({"engine.max_model_len": 10**6}, ["max_model_len 1000000", "131072"]),
        ({"workload.priorities": {0: 0.5, 1: 0.5}}, ["priorities", "engine.order"]),
        ({"workload.output_predictor": {"error_cv": 0.3}}, ["output_predictor", "engine.order"]),
    ],
)
def test_a_value_that_does_not_do_what_it_says_is_noted(overrides, fragments):
    all_in(" ".join(experiment_from(changed(overrides)).notes), fragments)


@pytest.mark.parametrize(
    "overrides",
    [
        {"model": "llama-3.1-70b"},
        {"model": "qwen3-32b", "accelerator": "a100-40gb-sxm"},
        {"engine.gpu_memory_utilization": 0.1},
        {"accelerator": "l4", "engine.preset": "static", "engine.max_model_len": 131072},
    ],
)
def test_every_remedy_for_a_model_that_does_not_fit_works(overrides):
    message = refusal(experiment_from, changed(overrides))
    sizes = re.findall(r"tensor_parallel_size to (\d+)", message)
    gpus = [name for names in re.findall(r"at least \d+ GB \((.*?)\)", message) for name in names.split(", ")]
    assert sizes or gpus
    for size in sizes:
        experiment_from(changed(overrides | {"engine.tensor_parallel_size": int(size)}))
    for gpu in gpus:
        experiment_from(changed(overrides | {"accelerator": gpu}))


def test_resolved_experiment_loads_to_itself():
    experiment = experiment_from(
        changed(
            {
                "engine.preset": "static",
                "engine.formation_timeout_s": math.inf,
                "workload.priorities": {0: 0.5, 1: 0.5},
                "slo": {"p99_ttft": 1.0},
            }
        )
    )
    again = experiment_from(parse_yaml(yaml.safe_dump(experiment.resolved()), "resolved"))
    assert again.resolved() == experiment.resolved()
    assert again.engine.formation_timeout_s == math.inf


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("engine.max_num_seqs", ["KEY=VALUE"]),
        ("=3", ["KEY=VALUE"]),
        ("engine..max_num_seqs=3", ["KEY=VALUE"]),
        ("engine.preset.x=1", ["engine.preset is 'vllm-v1'", "not a section"]),
        ("engine.max_num_seqs=[1", ["not valid YAML"]),
        ("model=!!python/name:os.system", ["not valid YAML", "python/name"]),
    ],
)
def test_malformed_override_is_refused(override, fragments):
    all_in(refusal(apply_override, copy.deepcopy(BASE), override), [f"--set '{override}'", *fragments])


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("engine.max_num_seq=8", ["engine.max_num_seq", "'max_num_seqs'"]),
        ("engine.max_num_seqs=", ["engine.max_num_seqs", "None"]),
        ("engine.max_num_seqs=8=9", ["engine.max_num_seqs", "'8=9'"]),
        ("workload.priorities.high=1.0", ["workload.priorities", "'high'"]),
    ],
)
def test_override_to_a_bad_value_is_refused_like_the_file(override, fragments):
    data = copy.deepcopy(BASE)
    apply_override(data, override)
    all_in(refusal(experiment_from, data), fragments)


def bomb():
    """Nine lists, each of ten times the one before."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param(b"a: 1\nb: [1, 2\nc: 3\n", ["line 3", "not valid YAML"], id="syntax"),
        pytest.param(b"a:\n\tb: 1\n", ["line 2", "\\t"], id="tab"),
        pytest.param(b"seed: 1\nname: x\nseed: 2\n", ["line 3", "'seed'", "twice", "keep one"], id="duplicate"),
        pytest.param(b"engine:\n  order: fcfs\n  order: fcfs\n", ["line 3", "'order'", "twice"], id="nested_duplicate"),
        pytest.param(b"- 1\n- 2\n", ["list", "mapping"], id="list"),
        pytest.param(b"hello\n", ["mapping"], id="scalar"),
        pytest.param(b"1: 2\n", ["key", "1"], id="number_as_key"),
        pytest.param(b"? [1, 2]\n: 3\n", ["line 1", "key"], id="list_as_key"),
        pytest.param(b"", ["nothing", "mapping"], id="empty"),
        pytest.param(b"# only a remark\n", ["nothing", "mapping"], id="comment"),
        pytest.param(bytes(range(256)), ["text", "YAML"], id="binary"),
        pytest.param(b"seed: \x00\n", ["not valid YAML"], id="nul"),
        pytest.param(b"a: " + b"[" * 5000, ["YAML"], id="bottomless"),
        pytest.param(b"a: " + b"[" * 100 + b"]" * 100, ["nested more than 50 deep", "flatten"], id="deep"),
        pytest.param(b"a: &a [*a]\n", ["nested more than 50 deep"], id="inside_itself"),
        pytest.param(bomb(), ["more than 1,000,000 values", "anchors"], id="anchors_of_anchors"),
        pytest.param(b"x: !colour red\n", ["line 1", "!colour"], id="tag"),
        pytest.param(b"x: !!timestamp foo\n", ["line 1", "!!timestamp", "not read"], id="timestamp"),
        pytest.param(b"x: !!set [1]\n", ["line 1", "!!set", "not read"], id="set"),
        pytest.param(b"x: !!bool foo\n", ["line 1", "'foo' is not a value of the type bool"], id="bool"),
        pytest.param(b"x: !!float\n", ["line 1", "'' is not a value of the type float"], id="float"),
        pytest.param(b"x: !!map [a]\n", ["line 1", "expected a mapping"], id="map"),
        pytest.param(b'x: "\\UFFFFFFFF"\n', ["not valid YAML"], id="no_such_character"),
        pytest.param(b"a: 1\n---\nb: 2\n", ["line 2", "document"], id="two_documents"),
    ],
)
def test_bad_yaml_file_is_refused(tmp_path, content, fragments):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    all_in(refusal(load_experiment, path), [str(path), *fragments])


@pytest.mark.parametrize(("name", "fragment"), [("no.yaml", "no such file"), (".", "directory"), ("f/x", "director")])
def test_unreadable_path_is_refused(tmp_path, name, fragment):
    (tmp_path / "f").touch()
    all_in(refusal(load_experiment, tmp_path / name), [str(tmp_path / name), fragment])


def test_python_tag_in_yaml_does_not_run(tmp_path):
    proof = tmp_path / "ran"
    path = tmp_path / "c.yaml"
    path.write_text(f"name: !!python/object/apply:builtins.open [{proof}, w]")
    all_in(refusal(load_experiment, path), [str(path), "line 1", "python/object"])
    assert not proof.exists()


def test_an_unnamed_run_is_named_after_its_file(tmp_path):
    path = tmp_path / "my config.yaml"
    path.write_text(json.dumps(changed({"name": GONE})))
    assert load_experiment(path).name == "my-config"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("2e1", 20.0),
        ("1E5", 1e5),
        ("-1.5e3", -1500.0),
        ("312e12", 312e12),
        (".5", 0.5),
        ("1_000", 1000),
        (".inf", math.inf),
        ("010", 10),
        ("1:30", "1:30"),
        ("'1e3'", "1e3"),
        ("1e3s", "1e3s"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_numbers_in_yaml_mean_what_they_look_like(text, value):
    assert parse_yaml(text, "here") == value


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        pytest.param({"hidden_size": GONE}, ["hidden_size", "complete"], id="no_hidden_size"),
        pytest.param({"num_attention_heads": GONE}, ["num_attention_heads", "complete"], id="no_heads"),
        pytest.param({"intermediate_size": "14336"}, ["intermediate_size", "'14336'", "whole number"], id="text"),
        pytest.param({"vocab_size": 0}, ["vocab_size", "0", "from 1 to"], id="zero"),
        pytest.param({"vocab_size": True}, ["vocab_size", "True", "whole number"], id="bool"),
        pytest.param({"num_key_value_heads": 7}, ["num_key_value_heads 7", "32"], id="head_groups"),
        pytest.param({"torch_dtype": "float64"}, ["dtype", "'float64'", "bfloat16"], id="dtype"),
        pytest.param({"tie_word_embeddings": "no"}, ["tie_word_embeddings", "'no'"], id="text_for_bool"),
        pytest.param({"model_type": "gpt2"}, ["model_type 'gpt2'", "llama"], id="architecture"),
        pytest.param({"model_type": "qwen"}, ["model_type 'qwen'", "did you mean 'qwen"], id="near_architecture"),
        pytest.param({"architectures": ["X"], "model_type": GONE}, ["model_type", "config.json"], id="no_architecture"),
        pytest.param({"model_type": "mixtral", "num_local_experts": 8}, ["num_experts_per_tok", "None"], id="moe"),
        pytest.param({"vision_config": {}}, ["vision_config", "vision"], id="vision"),
        pytest.param({"text_config": {"model_type": "gpt2"}}, ["model_type 'gpt2'"], id="nested_architecture"),
        pytest.param({"quantization_config": {"bits": 4}}, ["quant_method", "fp8", "awq"], id="quantised"),
        pytest.param({"layer_types": ["linear_attention"]}, ["layer_types", "linear-attention"], id="linear"),
        pytest.param({"index_topk": 2048}, ["index_topk", "sparse attention"], id="sparse"),
    ],
)
def test_hugging_face_config_that_would_be_counted_wrong_is_refused(tmp_path, changes, fragments):
    config = {key: value for key, value in (HF | changes).items() if value is not GONE}
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = refusal(experiment_from, changed({"model": "./config.json"}), tmp_path)
    all_in(message, [str(tmp_path / "config.json"), *fragments])


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_hugging_face_config_is_read_however_it_is_indented(tmp_path, indent):
    (tmp_path / "config.json").write_text(json.dumps(HF, indent=indent))
    assert experiment_from(changed({"model": "./config.json"}), tmp_path).model.hidden_size == 4096


@pytest.mark.parametrize(
    ("field", "content", "fragments"),
    [
        ("accelerator", GPU | {"memory_bandwidth": 2e12}, ["accelerator.memory_bandwidth", "'memory_bytes'"]),
        ("accelerator", GPU | {"memory_bytes": -1}, ["accelerator.memory_bytes", "-1"]),
        ("accelerator", {"name": "x"}, ["accelerator.memory_bytes", "missing"]),
        ("model", MODEL | {"hidden_layers": 32}, ["model.hidden_layers", "'num_hidden_layers'"]),
    ],
)
def test_bad_description_file_is_refused_like_a_section(tmp_path, field, content, fragments):
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    all_in(refusal(experiment_from, changed({field: "mine.yaml"}), tmp_path), fragments)


def test_bad_description_file_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text(json.dumps(GPU | {"memory_bandwidth": 2e12}))
    assert "mine.yaml" in refusal(experiment_from, changed({"accelerator": "mine.yaml"}), tmp_path)


def test_paths_are_looked_up_beside_the_config(tmp_path):
    (tmp_path / "mine.yaml").write_text(json.dumps(GPU))
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(changed({"accelerator": "mine.yaml"})))
    assert load_experiment(Path(config)).accelerator.memory_bytes == GPU["memory_bytes"]
