"""How much inputs matter, against closed forms; and how far the cost model's constants may be off."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_runs import CONSTANT, experiment

import sim
from sim.specs.experiment import Experiment
from sim.stats.interval import Interval
from sim.study.constants import drawn
from sim.study.sensitivity.inputs import numbers, usual_inputs, varied

TEXTBOOK = {"cost": {"kind": "roofline"}}
RATE = "workload.arrivals.rate"

ONE_SERVER = {
    "engine": {"max_num_seqs": 1, "max_model_len": 512, "num_gpu_blocks": 600, "async_scheduling": False},
    "cost": {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.1}},
    "workload.arrivals.rate": 5,
    "workload.num_requests": 2500,
}
"""M/D/1 at half load."""


def elasticities(found: sim.Sensitivity, name: str) -> dict[str, Interval]:
    known = {key: one for key, one in found.elasticities[name].items() if isinstance(one, Interval)}
    assert len(known) == len(found.inputs)
    return known


# ---- elasticities ----------------------------------------------------------------------------------------------------


def test_waiting_grows_with_load_as_the_closed_form_says():
    """W = λS²/(2(1 - λS)), so its elasticity to λ is 1/(1 - ρ) and to S a 1 more."""
    server = experiment(ONE_SERVER)
    found = sim.sensitivity(server, [RATE, "cost.service_s.value"], ["mean_queue"], replications=6)
    seen = elasticities(found, "mean_queue")

    def wait_s(rate: float, service_s: float) -> float:
        return rate * service_s**2 / (2 * (1 - rate * service_s))

    step, share = 1.05, math.log(1.05**2)
    to_rate = (wait_s(5 * step, 0.1) - wait_s(5 / step, 0.1)) / wait_s(5, 0.1) / share
    to_service = (wait_s(5, 0.1 * step) - wait_s(5, 0.1 / step)) / wait_s(5, 0.1) / share
    assert to_rate == pytest.approx(1 / (1 - 0.5), rel=0.01)
    assert to_rate in seen[RATE]
    assert to_service in seen["cost.service_s.value"]
    assert seen[RATE].half_width < 0.4


def test_what_a_metric_is_proportional_to_has_elasticity_one_and_what_it_ignores_none():
    """With iterations of one length, TPOT is that length, whatever the load."""
    found = sim.sensitivity(experiment(CONSTANT), ["cost.step_s", RATE], ["mean_tpot"], replications=3)
    seen = elasticities(found, "mean_tpot")
    assert seen["cost.step_s"].value == pytest.approx(1, rel=1e-3)  # central differences of a line: sinh(h)/h
    assert seen[RATE].value == pytest.approx(0, abs=1e-9)
    assert [one.key for one in found.ranked("mean_tpot")] == ["cost.step_s", RATE]


def test_a_faster_machine_is_a_slower_clock():
    """All hardware faster by x and arrivals by x as well only shrinks time: the elasticities of a latency sum up."""
    hardware = ["accelerator.memory_bytes_per_s", "accelerator.peak_flop_per_s.bfloat16"]
    host = ["cost.host_per_step_s", "cost.host_per_sequence_s"]
    found = sim.sensitivity(experiment(TEXTBOOK), [RATE, *hardware, *host], ["mean_e2e"], replications=3)
    seen = {key: one.value for key, one in elasticities(found, "mean_e2e").items()}
    assert seen[RATE] + sum(seen[key] for key in hardware) - sum(seen[key] for key in host) == pytest.approx(
        -1, abs=0.03
    )


def test_whole_numbers_move_by_one_at_least():
    few = varied(experiment({"engine.max_num_seqs": 4}), "engine.max_num_seqs", 0.05)
    assert (few.lower_value, few.higher_value) == (3, 5)
    assert (few.lower.engine.max_num_seqs, few.higher.engine.max_num_seqs) == (3, 5)


def test_usual_inputs_are_those_that_the_experiment_has():
    fixed = {"workload.lengths.prompt": {"distribution": "fixed", "value": 100}}
    assert usual_inputs(experiment(fixed | TEXTBOOK)) == [
        RATE,
        "workload.lengths.prompt.value",
        "accelerator.memory_bytes_per_s",
        "accelerator.peak_flop_per_s.bfloat16",
        "cost.host_per_step_s",
        "cost.host_per_sequence_s",
        "engine.num_gpu_blocks",
        "engine.max_num_batched_tokens",
        "engine.max_num_seqs",
    ]
    assert [key for key in usual_inputs(experiment(fixed)) if "kernels" in key] == ["accelerator.kernels.gap_s"]
    assert "link_bytes_per_s" in "".join(usual_inputs(experiment({"engine.tensor_parallel_size": 2})))
    assert usual_inputs(experiment(CONSTANT))[1:2] == ["cost.step_s"]
    assert numbers(experiment())["accelerator.efficiency.gemm_compute"] == base_share()


def test_an_unstable_queue_has_no_elasticities_and_the_note_says_why():
    flooded = experiment(ONE_SERVER, {RATE: 20, "workload.num_requests": 2000})
    found = sim.sensitivity(flooded, [RATE], ["mean_queue"], replications=3)
    assert found.elasticities["mean_queue"][RATE] == "the queue is unstable"
    assert any("requests/s arrive and the number in the system grows" in text for text in found.notes)
    assert found.table()["why_not"].tolist() == ["the queue is unstable"]


# ---- the cost model's own error --------------------------------------------------------------------------------------


def base_share() -> float:
    return experiment().accelerator.efficiency.gemm_compute


def with_error(error: float) -> Experiment:
    """All constants have this relative standard error."""
    base = experiment()
    efficiency = base.accelerator.efficiency.model_copy(update={"error": error})
    kernels = base.accelerator.kernels.model_copy(update={"standard_errors": {}})
    accelerator = base.accelerator.model_copy(update={"efficiency": efficiency, "kernels": kernels})
    return base.model_copy(update={"accelerator": accelerator})


def test_constants_are_drawn_within_their_error_and_the_same_for_a_seed():
    base = with_error(0.1)
    draws = [drawn(base.model_copy(update={"seed": seed})).accelerator.efficiency for seed in range(200)]
    off = np.log([one.attention_compute / base.accelerator.efficiency.attention_compute for one in draws])
    assert off.mean() == pytest.approx(0, abs=0.02)
    assert off.std() == pytest.approx(base.accelerator.efficiency.error, rel=0.15)
    assert drawn(base).accelerator.efficiency == drawn(base).accelerator.efficiency
    certain = with_error(0.0)
    assert drawn(certain).accelerator == certain.accelerator
    assert all(one.gemm_compute <= 1 for one in draws)


def test_model_error_widens_what_sampling_says_and_nothing_where_there_is_none():
    def widths(error: float) -> tuple[float, float]:
        (measure,) = sim.sensitivity(with_error(error), [RATE], ["mean_tpot"], replications=5).measures
        assert isinstance(measure.value, Interval)
        assert isinstance(measure.with_model_error, Interval)
        return measure.value.half_width, measure.with_model_error.half_width

    sampling, certain = widths(0.0)
    assert certain == pytest.approx(sampling, rel=0.01)
    assert widths(0.1)[1] > 2 * widths(0.1)[0]


def test_costs_that_are_given_have_no_error():
    (measure,) = sim.sensitivity(experiment(CONSTANT), [RATE], ["mean_tpot"], replications=3).measures
    assert measure.with_model_error == "only physical constants have an error"


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": ["workload.rate"]}, "inputs: unknown number 'workload.rate'; did you mean"),
        ({"inputs": []}, "inputs: got none, must name a number of the config, such as workload.arrivals.rate"),
        ({"inputs": ["accelerator.efficiency.gemm_compute"], "step": 0.4}, "cannot be 1.17334: accelerator.efficiency"),
        ({"inputs": ["engine.block_size"]}, "inputs: engine.block_size decides how many KV blocks there are before"),
        ({"metrics": ["p98_ttft"]}, "metrics: unknown metric 'p98_ttft'"),
        ({"step": 0.0}, "step: got 0, must be at least 0.005 and at most 0.5, such as 0.05 for 5 %"),
        ({"replications": 2}, "replications: got 2, must be at least 3"),
        ({"level": 1.0}, "level: got 1"),
    ],
)
def test_what_cannot_be_varied_is_refused(changes, words):
    with pytest.raises(sim.InputError, match="(?s)" + words.replace("(", r"\(")):
        sim.sensitivity(experiment(), **changes)
