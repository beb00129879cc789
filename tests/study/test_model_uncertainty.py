"""Runs with drawn constants: how far off a run's numbers may be for the cost model's error."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import experiment

import sim
from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.experiment import Experiment
from sim.stats.prediction import prediction
from sim.study.constants import drawn
from sim.study.model_uncertainty import check_draws, model_uncertainty

CONSTANT = {"cost": {"kind": "constant", "step_s": 0.01}}


def with_errors(error: float, **named: float) -> Experiment:
    """Every constant has the relative standard error `error`, but for those named."""
    base = experiment()
    efficiency = base.accelerator.efficiency.model_copy(update={"error": error})
    kernels = base.accelerator.kernels.model_copy(update={"standard_errors": named})
    accelerator = base.accelerator.model_copy(update={"efficiency": efficiency, "kernels": kernels})
    return base.model_copy(update={"accelerator": accelerator})


def test_a_named_constant_has_its_own_error_and_choices_have_none():
    found = [drawn(with_errors(0.0, gap_s=0.3, clock=0.01), draw).accelerator for draw in range(300)]
    base = experiment().accelerator
    assert np.log([one.kernels.gap_s / base.kernels.gap_s for one in found]).std() == pytest.approx(0.3, rel=0.15)
    assert np.log([one.kernels.clock for one in found]).std() == pytest.approx(0.01, rel=0.15)
    assert {one.efficiency for one in found} == {base.efficiency.model_copy(update={"error": 0.0})}
    assert {one.kernels.query_tile_tokens for one in found} == {base.kernels.query_tile_tokens}


def test_nothing_reaches_more_than_its_peak():
    shares = [drawn(with_errors(0.5), draw).accelerator.kernels.elementwise_memory for draw in range(100)]
    assert max(shares) == 1


def test_nothing_leaves_the_bounds_of_a_description():
    for draw in range(100):
        found = drawn(with_errors(1.0, clock=2.0, gap_s=2.0), draw).accelerator
        AcceleratorSpec.model_validate(found.model_dump())


def test_the_textbook_has_no_kernels_to_draw():
    textbook = experiment({"cost": {"kind": "roofline"}})
    assert drawn(textbook, 3).accelerator.kernels == textbook.accelerator.kernels
    assert drawn(textbook, 3).accelerator.efficiency != textbook.accelerator.efficiency


def test_draws_differ_and_each_is_the_same_every_time():
    base = experiment()
    assert drawn(base, 1) == drawn(base, 1) != drawn(base, 2)


def test_without_errors_every_run_is_the_run_itself():
    base = with_errors(0.0)
    found = model_uncertainty(base, 3).to_dict(run_of(base))["metrics"]["mean_e2e"]
    assert found["low"] == pytest.approx(found["value"])
    assert found["high"] == pytest.approx(found["value"])


def test_the_range_is_wider_where_the_constants_are_less_certain():
    def width(error: float) -> float:
        base = with_errors(error)
        found = model_uncertainty(base, 12).to_dict(run_of(base))["metrics"]["mean_tpot"]
        assert found["low"] < found["value"] < found["high"]
        return float(found["high"] - found["low"])

    assert width(0.2) > 2 * width(0.05) > 0


def run_of(base: Experiment) -> dict:
    return sim.run(base).summary


@pytest.mark.parametrize("draws", [0, 2, 10_001, -5])
def test_too_few_or_too_many_draws_are_refused(draws):
    with pytest.raises(InputError, match=f"draws: got {draws}, must be at least 3 and at most 10,000, such as 30"):
        check_draws(experiment(), draws)


def test_a_given_cost_has_no_error_to_draw():
    with pytest.raises(InputError, match=r"draws: cost kind constant is given, not measured.* use cost kind kernels"):
        model_uncertainty(experiment(CONSTANT), 5)


def test_a_further_value_falls_into_the_prediction_as_often_as_it_says():
    random = np.random.default_rng(5)
    inside = []
    for _ in range(2000):
        *seen, further = random.normal(size=8)
        middle, width = prediction(seen, 0.9)
        inside.append(abs(further - middle) <= width)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
