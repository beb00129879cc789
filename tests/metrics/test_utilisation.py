"""FLOPs, bytes, MFU and MBU of runs small enough to count, and what a token costs."""

from __future__ import annotations

import pytest
from batches import batch_of
from small_runs import CONSTANT, PREEMPTING, STATIC, experiment, run

from sim.cost import operations

PROMPT, OUTPUT = 64, 5
ALONE = {
    "workload.arrivals": {"process": "all_at_once"},
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": PROMPT},
        "output": {"distribution": "fixed", "value": OUTPUT},
    },
    "workload.num_requests": 1,
}
GROUPS = (
    operations.attention_projections, operations.mlp, operations.lm_head, operations.attention_prefill,
    operations.attention_decode,
)  # fmt: skip
PEAK_FLOP_PER_S, BYTES_PER_S = 312e12, 2.039e12
"""The A100's, for bfloat16."""

H, LAYERS, QUERY, KV, INTERMEDIATE, VOCABULARY = 4096, 32, 4096, 1024, 14336, 128256
"""Llama-3.1-8B."""


def used(*changes):
    result = run(*changes)
    return result, result.summary["sim"]["utilisation"]


def test_flops_of_one_request_by_the_textbook():
    """Every token but the last output runs through the matrices, and sees all before it and itself."""
    _, utilisation = used(ALONE)
    tokens = PROMPT + OUTPUT - 1
    matrices = 2 * tokens * LAYERS * (2 * H * QUERY + 2 * H * KV + 3 * H * INTERMEDIATE)
    attention = 4 * QUERY * LAYERS * tokens * (tokens + 1) / 2
    assert utilisation["flops_per_gpu"] == pytest.approx(matrices + attention + 2 * OUTPUT * H * VOCABULARY, rel=1e-12)


@pytest.mark.parametrize("tp", [1, 2])
def test_work_is_that_of_the_batches_on_each_gpu(tp):
    result, utilisation = used(ALONE, {"engine.tensor_parallel_size": tp, "cost": {"kind": "roofline"}})
    batches = [batch_of((PROMPT, 0))]
    batches += [batch_of(decodes=1, context_tokens=PROMPT + i) for i in range(1, OUTPUT)]
    work = [group(result.experiment.model, batch, tp) for batch in batches for group in GROUPS]
    assert utilisation["flops_per_gpu"] == pytest.approx(sum(part.flops for part in work), rel=1e-12)
    assert utilisation["memory_bytes_per_gpu"] == pytest.approx(sum(part.bytes for part in work), rel=1e-12)


@pytest.mark.parametrize("changes", [{}, PREEMPTING, STATIC], ids=["vllm-v1", "preempting", "static"])
def test_mfu_and_mbu_are_shares_of_the_peaks(changes):
    result, utilisation = used(changes)
    duration_s, busy = result.summary["duration"], result.summary["sim"]["batch"]["busy_fraction"]
    assert utilisation["mfu"] == pytest.approx(utilisation["flops_per_gpu"] / PEAK_FLOP_PER_S / duration_s)
    assert utilisation["mbu"] == pytest.approx(utilisation["memory_bytes_per_gpu"] / BYTES_PER_S / duration_s)
    assert utilisation["busy_mfu"] * busy == pytest.approx(utilisation["mfu"])
    assert utilisation["busy_mbu"] * busy == pytest.approx(utilisation["mbu"])
    assert 0 < utilisation["busy_mfu"] < 1
    assert 0 < utilisation["busy_mbu"] < 1


def test_padding_counts_as_executed():
    padded, exact = (used(STATIC, {"engine.pad_to_longest": pad})[1]["flops_per_gpu"] for pad in (True, False))
    assert padded > 1.05 * exact


def test_recomputation_counts_as_executed():
    plenty = {"workload.arrivals": {"process": "all_at_once"}}
    assert used(PREEMPTING)[1]["flops_per_gpu"] > 1.02 * used(plenty)[1]["flops_per_gpu"]


def test_only_the_roofline_counts_work():
    assert set(used(CONSTANT)[1].values()) == {None}


def test_cost_and_energy_of_a_million_tokens_by_hand(tmp_path):
    """Two GPUs at 3.6 an hour and 500 W, five tokens in five steps of 0.2 s."""
    priced = tmp_path / "priced.yaml"
    priced.write_text(
        "{name: priced, memory_bytes: 85_000_000_000, memory_bytes_per_s: 2e12, peak_flop_per_s: {bfloat16: 312e12},"
        " link_bytes_per_s: 600e9, price_per_hour: 3.6, power_w: 500}",
        encoding="utf-8",
    )
    machine = {"accelerator": str(priced), "engine.tensor_parallel_size": 2}
    result = run(ALONE, machine, {"cost": {"kind": "constant", "step_s": 0.2}})
    assert result.summary["duration"] == pytest.approx(1.0)
    assert result.summary["sim"]["cost"] == pytest.approx(
        {"cost_per_million_tokens": 2 * 3.6 / 3600 * 1e6 / 5, "energy_per_million_tokens": 2 * 500 * 1e6 / 5 / 3.6e6}
    )


def test_without_a_price_there_is_no_cost():
    assert experiment().accelerator.price_per_hour is None
    assert run().summary["sim"]["cost"]["cost_per_million_tokens"] is None
