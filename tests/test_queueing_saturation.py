"""Without randomness, or with all requests there from the start: throughput at saturation, waste of static batches,
limits of KV memory, single requests in chunks, stalls of decodes, and a prefix cache.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.cases import Case, all_cases, cases_of, holds
from oracles.experiments import affine, at_once, build, constant, fixed, static
from oracles.gates import Means, assert_bound, assert_equals, assert_recursion_agrees
from oracles.measures import seeds
from oracles.table import FORMULA, RECURSION

import sim
from sim.metrics.tables import iterations_table, requests_table
from sim.serving.simulation import RunLog, simulate
from sim.specs.model import ModelSpec
from sim.workload.source import build_workload
from sim.workload.workload import Workload

GIB = 2**30
SATURATION, CONCURRENCY = "saturation-deterministic", "KV-limited-concurrency"
VERSUS, CAPPED = "saturation-continuous-vs-static", "capped-exponential-static-waste"
CHUNKED, STALL = "unloaded-chunked-prefill", "decode-stall-bound"


def crowd(p: dict[str, Any], count: int, **engine: Any) -> sim.Experiment:
    """So many requests of fixed lengths, all at once."""
    settings = {"arrivals": at_once(), "prompt": fixed(p["Lin"]), "output": fixed(p["Lout"]), "cost": affine(p)}
    return build(settings, count, seed=0, **{"max_num_batched_tokens": None} | engine)


def serve(experiment: sim.Experiment, columns: dict[str, Any]) -> tuple[RunLog, pd.DataFrame, pd.DataFrame]:
    """(log, requests, iterations) of the experiment's engine serving these requests."""
    workload = Workload(pd.DataFrame(columns))
    log = simulate(experiment, workload)
    return log, requests_table(log, workload), iterations_table(log.recorder)


# ---- throughput at saturation ---------------------------------------------------------------------------------------


@holds(SATURATION, "kind req_per_s out_tok_per_s", only=[1, 2, 5])
def test_a_crowd_is_served_in_waves_of_the_seats(case: Case) -> None:
    result = sim.run(crowd(case.params, 5 * case.params["m"], max_num_seqs=case.params["m"]))
    kind = "seat-limited" if blockers(result.iterations) == {"seats"} else "otherwise limited"
    rates = {"req_per_s": "request_throughput", "out_tok_per_s": "output_throughput"}
    assert_equals(case, {"kind": kind} | {name: result.summary[key] for name, key in rates.items()})


@holds(SATURATION, "kind req_per_s out_tok_per_s", only=[3, 4])
def test_a_crowd_is_served_at_the_pace_of_the_token_budget(case: Case) -> None:
    """In the middle of a long run, when as many come as go."""
    p = case.params
    engine = {"max_num_seqs": p["m"], "max_num_batched_tokens": p["token_budget"]}
    result = sim.run(crowd(p, 2000, **engine))
    finish_s = np.sort(result.requests["finish_s"])[600:1600]
    rate = (len(finish_s) - 1) / (finish_s[-1] - finish_s[0])
    kind = "budget-limited" if blockers(result.iterations) == {"token budget"} else "otherwise limited"
    assert_equals(case, {"kind": kind, "req_per_s": rate, "out_tok_per_s": rate * p["Lout"]}, rel=0.01)


def blockers(iterations: pd.DataFrame) -> set[str]:
    """Why those who waited could not start."""
    return set(iterations["blocked_by"].dropna())


@holds(SATURATION, "lam_max_m_inf")
def test_no_number_of_seats_serves_more_than_the_tokens_cost(case: Case) -> None:
    """Seats without end share the cost of a step among them: it is as if there was none."""
    free_step = crowd(case.params | {"alpha": 0.0}, 64, max_num_seqs=16)
    assert_equals(case, {"lam_max_m_inf": sim.run(free_step).summary["request_throughput"]})


# ---- KV memory ------------------------------------------------------------------------------------------------------


@holds(CONCURRENCY, "blocks_per_req max_concurrency")
def test_requests_need_blocks_for_all_tokens_but_the_last(case: Case) -> None:
    """Paged memory: one request more than fit together is preempted, for the last token is never stored."""
    p, most = case.params, case.expected["max_concurrency"]
    engine = {"num_gpu_blocks": p["blocks"] + 1, "block_size": p["bs"]}
    single = sim.run(crowd(p, 1, **engine | {"num_gpu_blocks": 1 + case.expected["blocks_per_req"] + 1}))
    assert_equals(case, {"blocks_per_req": peak_blocks(single.iterations)}, rel=0)
    runs = {seats: sim.run(crowd(p, seats, max_num_seqs=seats, **engine)) for seats in (most - 1, most, most + 1)}
    fitting = {seats: run for seats, run in runs.items() if run.requests["preemptions"].sum() == 0}
    assert_equals(case, {"max_concurrency": max(fitting)}, rel=0)
    assert peak_blocks(fitting[most].iterations) == most * case.expected["blocks_per_req"]


def peak_blocks(iterations: pd.DataFrame) -> int:
    return int((iterations["kv_used_blocks"] + iterations["kv_grown_blocks"]).max())


@holds(CONCURRENCY, "blocks_per_req_in_plus_out max_concurrency_in_plus_out")
def test_slots_reserve_blocks_for_prompt_and_output(case: Case) -> None:
    p, most = case.params, case.expected["max_concurrency_in_plus_out"]
    slots = {
        "preset": "orca",
        "num_gpu_blocks": p["blocks"],
        "block_size": p["bs"],
        "max_model_len": p["Lin"] + p["Lout"],
    }
    experiment = crowd(p, 3 * most, **slots)
    running = int(sim.run(experiment).iterations["running"].max())
    found = {"blocks_per_req_in_plus_out": experiment.engine.slot_blocks, "max_concurrency_in_plus_out": running}
    assert_equals(case, found, rel=0)


@holds(CONCURRENCY, "req_per_s")
def test_as_many_as_fit_into_memory_are_served_in_waves(case: Case) -> None:
    p, most = case.params, all_cases()[case.id].expected["max_concurrency"]
    waves = sim.run(crowd(p, 4 * most, max_num_seqs=most, num_gpu_blocks=p["blocks"] + 1, block_size=p["bs"]))
    assert_equals(case, {"req_per_s": waves.summary["request_throughput"]})


@holds("KV-slots-OPT", "kv_bytes_per_token slots published_slots")
def test_token_slots_of_the_models_that_vllm_was_measured_with(case: Case) -> None:
    p = case.params
    heads = p["h"] // 128
    widths = {"hidden_size": p["h"], "num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": 128}
    rest = {"intermediate_size": 4 * p["h"], "vocab_size": 50272, "max_position_embeddings": 2048, "dtype": "float16"}
    model = ModelSpec(name=p["model"], num_hidden_layers=p["L"], **widths, **rest)
    slots = p["kv_gib"] * GIB / model.kv_bytes_per_token
    assert_equals(case, {"kv_bytes_per_token": model.kv_bytes_per_token, "slots": slots}, by=FORMULA)
    assert_equals(case, {"published_slots": slots}, rel=0.02, by=FORMULA)


# ---- static batches wait for their longest ---------------------------------------------------------------------------


def lengths_of(case: Case, count: int, seed: int) -> np.ndarray:
    """Output lengths under the case's law."""
    random, p = np.random.default_rng(seed), case.params
    if "lengths" not in p:  # rounded exponentials up to a cap
        within = -np.expm1(-(p["cap"] + 0.5) / p["mean"])
        drawn = -p["mean"] * np.log1p(-within * random.random(count))
        return np.maximum(np.rint(drawn), 1).astype(int)
    return random.geometric(0.01, count) if "geometric" in p["lengths"] else random.integers(1, 513, count)


def steps_of(case: Case, outputs: np.ndarray, **engine: Any) -> float:
    """Steps in which an engine serves a crowd with these outputs."""
    settings = {"arrivals": at_once(), "cost": constant(0.01)}
    experiment = build(settings, 1, 0, **static(case.params["b"], max_model_len=8192) | engine)
    columns = {"arrival_s": 0.0, "prompt_tokens": 1, "output_tokens": outputs}
    return float(serve(experiment, columns)[2]["iterations"].sum())


@pytest.mark.parametrize("case", [*cases_of(VERSUS), *cases_of(CAPPED)], ids=str)
def test_a_crowd_in_static_batches_takes_the_steps_of_each_batch_s_longest(case: Case) -> None:
    outputs = lengths_of(case, 20 * case.params["b"], seeds(case, 1)[0])
    assert steps_of(case, outputs) == outputs.reshape(-1, case.params["b"]).max(axis=1).sum()


@pytest.mark.parametrize("case", cases_of(VERSUS), ids=str)
def test_a_crowd_in_continuous_batches_fills_every_seat_to_the_last(case: Case) -> None:
    """But for the end, when nobody is left to take a seat: at most the longest output's steps."""
    outputs, seats = lengths_of(case, 40 * case.params["b"], seeds(case, 1)[0]), case.params["b"]
    steps = steps_of(case, outputs, preset="orca")
    assert outputs.sum() / seats <= steps <= outputs.sum() / seats + outputs.max()


SHARES = ("slot_efficiency", "static_slot_efficiency")


def waste_means(case: Case, batches: int, seed: int) -> Means:
    """Steps and shares of so many static batches, whose steps are their longest members'."""
    outputs = lengths_of(case, batches * case.params["b"], seed).reshape(-1, case.params["b"])
    longest, mean = outputs.max(axis=1).mean(), outputs.mean()
    share = mean / longest
    found = {
        "E_max": longest,
        "E_n": mean,
        "ratio": 1 / share,
        "static_slot_efficiency": share,
        "slot_efficiency": share,
    }
    return {name: float(found[name]) for name in case.expected}


@holds(VERSUS, "E_max ratio static_slot_efficiency")
def test_continuous_batching_saves_the_steps_that_static_batches_wait(case: Case) -> None:
    assert_recursion_agrees(case, [waste_means(case, 3000, seed) for seed in seeds(case, 20)], allowed=0.01)


@holds(CAPPED, "E_n E_max slot_efficiency")
def test_static_batches_of_capped_exponential_outputs_waste_as_much_as_they_should(case: Case) -> None:
    assert_recursion_agrees(case, [waste_means(case, 5000, seed) for seed in seeds(case, 20)], allowed=0.01)


# ---- single requests ------------------------------------------------------------------------------------------------


@holds(CHUNKED, "TTFT E2E TPOT prefill_steps")
def test_a_prompt_in_chunks_on_an_idle_engine(case: Case) -> None:
    result = sim.run(crowd(case.params, 1, max_num_batched_tokens=case.params["T"]))
    (request,) = result.requests.to_dict("records")
    tpot_s = None if np.isnan(request["tpot_s"]) else request["tpot_s"]
    steps = int((result.iterations["prefill_tokens"] > 0).sum())
    found = {"TTFT": request["ttft_s"], "E2E": request["e2e_s"], "TPOT": tpot_s, "prefill_steps": steps}
    assert_equals(case, found)


@holds(STALL, "gap_no_prefill max_gap_mixed_unchunked max_gap_chunked chunk_steps")
def test_a_prompt_that_joins_decodes_stalls_them(case: Case) -> None:
    """The longest time between two tokens of requests that decode when it comes, in the middle of a step."""
    p = case.params
    quiet, mixed, chunked = (stall(p, *how) for how in ((None, False), (None, True), (p["T"], True)))
    gaps = {"gap_no_prefill": quiet[0], "max_gap_mixed_unchunked": mixed[0], "max_gap_chunked": chunked[0]}
    assert_equals(case, gaps | {"chunk_steps": chunked[1]})


def stall(p: dict[str, Any], budget: int | None, prompt_comes: bool) -> tuple[float, int]:
    """(the longest gap of the decodes, iterations in which the prompt ran)"""
    experiment = crowd(p | {"Lout": 1}, 1, max_num_batched_tokens=budget)
    prompts, outputs = [1] * p["d"] + [p["Lin"]] * prompt_comes, [60] * p["d"] + [2] * prompt_comes
    arrivals = [0.0] * p["d"] + [0.2] * prompt_comes
    columns = {"arrival_s": arrivals, "prompt_tokens": prompts, "output_tokens": outputs}
    _, requests, iterations = serve(experiment, columns)
    with_prompt = iterations["prefill_tokens"][1:] > 0
    return float(requests["max_itl_s"][: p["d"]].max()), int(with_prompt.sum())


@holds("toy-FCFS-vs-SJF", "FCFS FCFS_mean SJF SJF_mean ratio")
def test_three_answers_in_order_and_the_shortest_first(case: Case) -> None:
    """Latency per token, as in arXiv 2408.15792 figure 1."""
    outputs = np.array(case.params["out"])
    columns = {"arrival_s": 0.0, "prompt_tokens": 1, "output_tokens": outputs, "predicted_output_tokens": outputs}
    found = {}
    for name, order in {"FCFS": "fcfs", "SJF": "shortest_predicted"}.items():
        settings = {"arrivals": at_once(), "cost": constant(1.0), "workload": {"output_predictor": {"error_cv": 0.0}}}
        _, requests, _ = serve(build(settings, 1, 0, max_num_seqs=1, order=order), columns)
        found[name] = requests["e2e_s"].to_numpy() / outputs
        found[f"{name}_mean"] = found[name].mean()
    assert_equals(case, found | {"ratio": found["FCFS_mean"] / found["SJF_mean"]}, rel=1e-11)


# ---- a prefix cache -------------------------------------------------------------------------------------------------


def prefixes(case: Case, num_requests: int, seed: int) -> sim.Experiment:
    """One seat, prefixes of one block. Beside those that are cached there is a block for a request's own tokens."""
    p = case.params
    shared = {"num_prefixes": p["M"], "tokens": 16, "zipf_exponent": float(p["alpha"])}
    settings = {"lam": 1.0, "cost": constant(0.01), "workload": {"shared_prefix": shared}}
    engine = {"max_num_seqs": 1, "num_gpu_blocks": p["C"] + 2, "block_size": 16, "enable_prefix_caching": True}
    return build(settings, num_requests, seed, **engine, max_model_len=64)


def lru_hits(references: np.ndarray, size: int) -> np.ndarray:
    """Which references a cache of the `size` least recently used finds."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = np.zeros(len(references), bool)
    for place, number in enumerate(references.tolist()):
        hits[place] = number in cache
        cache[number] = None
        cache.move_to_end(number)
        if len(cache) > size:
            cache.popitem(last=False)
    return hits


@pytest.mark.parametrize("case", cases_of("prefix-cache-LRU-Che"), ids=str)
def test_the_prefix_cache_finds_what_the_least_recently_used_leaves(case: Case) -> None:
    """Reference by reference."""
    experiment = prefixes(case, 5000, 1)
    workload = build_workload(experiment)
    log = simulate(experiment, workload)
    found = requests_table(log, workload)["cached_tokens"] == 16
    np.testing.assert_array_equal(found, lru_hits(workload.table["prefix_id"].to_numpy(), case.params["C"]))


@holds("prefix-cache-LRU-Che", "hit_ratio upper_bound_LFU")
def test_the_least_recently_used_cache_hits_as_che_says(case: Case) -> None:
    references = build_workload(prefixes(case, 200_000, 1)).table["prefix_id"].to_numpy()
    ratio = lru_hits(references, case.params["C"])[20_000:].mean()
    assert_equals(case, {"hit_ratio": ratio}, rel=0, absolute=0.005, by=RECURSION)
    assert_bound(case, "upper_bound_LFU", ratio, by=RECURSION)
