"""Distributions over requests are numpy's; which percentile method that is, by an example."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import run

from sim.metrics.distributions import QUANTITIES
from sim.metrics.latency import latency_metrics
from sim.stats.series import SeriesSample

NINETY_NINE_FAST_ONE_SLOW_S = [0.119] * 99 + [0.5]


def metrics_of(ttft_s: list[float]) -> dict[str, float | None]:
    requests = pd.DataFrame({f"{metric}_s": ttft_s for metric in ("ttft", "tpot", "max_itl", "e2e", "queue")})
    return latency_metrics(requests, SeriesSample.of(np.array([])))


def test_percentiles_interpolate_linearly_between_ranks():
    """Not nearest rank, which would give 0.119, nor the next higher value, 0.5."""
    assert metrics_of(NINETY_NINE_FAST_ONE_SLOW_S)["p99_ttft"] == pytest.approx(0.12281, rel=1e-12)


def test_p100_is_max():
    metrics = metrics_of(NINETY_NINE_FAST_ONE_SLOW_S)
    assert metrics["max_ttft"] == np.percentile(NINETY_NINE_FAST_ONE_SLOW_S, 100) == 0.5


@pytest.mark.parametrize(("name", "column"), QUANTITIES.items())
def test_every_quantity_is_described_by_numpys_statistics(name, column):
    result = run()
    values = result.requests[column].to_numpy(float)
    expected = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    expected |= {f"p{level}": np.percentile(values, level) for level in (1, 5, 50, 90, 95, 99)}
    assert result.summary["sim"]["requests"][name] == pytest.approx(expected)


def test_the_bad_end_of_a_speed_is_the_low_one():
    """95 % of the requests are at least as fast as p5."""
    result = run()
    speeds = result.summary["sim"]["requests"]["tps_per_user"]
    assert (result.requests["tps_per_user"] >= speeds["p5"]).mean() == pytest.approx(0.95, abs=1 / 60)
