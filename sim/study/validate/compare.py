"""A simulated run against the real one: latencies, throughput, and how many requests ran and waited when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sim.metrics.latency import measured
from sim.metrics.runs import FloatArray, durations_s

STATISTICS = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
LATENCIES = {
    "ttft": "TTFT from arrival",
    "ttft_queued": "TTFT from queued",
    "tpot": "TPOT",
    "e2e": "E2E from arrival",
    "e2e_queued": "E2E from queued",
}
"""Names of the metrics, and what a person calls them."""
THROUGHPUT = "output_throughput"


class Pair(NamedTuple):
    """A number as measured and as simulated."""

    real: float
    simulated: float

    @property
    def error(self) -> float | None:
        """Simulated over real, less one; None where nothing was measured."""
        return self.simulated / self.real - 1 if self.real else None

    def to_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return {"real": self.real, "simulated": self.simulated, "error": self.error}


def latencies(stamps: pd.DataFrame) -> pd.DataFrame:
    """Seconds, a column for each of LATENCIES: TPOT is of requests with more than one output token, else NaN."""
    first, last, tokens = (stamps[name] for name in ("first_token_s", "last_token_s", "output_tokens"))
    return pd.DataFrame(
        {
            "ttft": first - stamps["arrival_s"],
            "ttft_queued": first - stamps["queued_s"],
            "tpot": ((last - first) / (tokens - 1)).where(tokens > 1),
            "e2e": last - stamps["arrival_s"],
            "e2e_queued": last - stamps["queued_s"],
        }
    )


def compare_latencies(real: pd.DataFrame, simulated: pd.DataFrame) -> dict[str, dict[str, Pair]]:
    """Mean and percentiles of each column by name; one without values is left out."""
    found: dict[str, dict[str, Pair]] = {}
    for name in real:
        theirs, ours = (measured(table[name]) for table in (real, simulated))
        if theirs.size and ours.size:
            pairs = zip(_statistics(theirs).items(), _statistics(ours).values(), strict=True)
            found[str(name)] = {statistic: Pair(one, other) for (statistic, one), other in pairs}
    return found


def _statistics(values: FloatArray) -> dict[str, float]:
    levels = dict(zip(STATISTICS, np.quantile(values, list(STATISTICS.values())), strict=True))
    return {"mean": float(values.mean())} | {name: float(value) for name, value in levels.items()}


def output_throughput(stamps: pd.DataFrame) -> float:
    """Output tokens per second from the first arrival to the last token."""
    return float(stamps["output_tokens"].sum() / (stamps["last_token_s"].max() - stamps["arrival_s"].min()))


# ---- over time ------------------------------------------------------------------------------------------------------


def curves(real: pd.DataFrame, simulated: pd.DataFrame) -> pd.DataFrame:
    """Requests running and waiting, every second: `t`, `running_real`, `running_simulated`, `waiting_real` …"""
    times = np.asarray(real["t"], np.float64)
    columns: dict[str, FloatArray] = {"t": times}
    for name in ("running", "waiting"):
        columns[f"{name}_real"] = np.asarray(real[name], np.float64)
        columns[f"{name}_simulated"] = np.asarray(simulated[name], np.float64)
    return pd.DataFrame(columns)


def counted(stamps: pd.DataFrame, times: FloatArray) -> pd.DataFrame:
    """Requests running and waiting at each of `times` by their stamps: who was preempted counts as running."""
    queued, scheduled, last = (
        np.searchsorted(np.sort(stamps[name].to_numpy()), times, side="right")
        for name in ("queued_s", "scheduled_s", "last_token_s")
    )
    return pd.DataFrame({"t": times, "running": scheduled - last, "waiting": queued - scheduled})


def sampled(iterations: pd.DataFrame, queued_s: FloatArray, times: FloatArray) -> pd.DataFrame:
    """Requests running and waiting as the iteration began that was under way at each of `times`, or none was.

    A row of `iterations` stands for several, in which nobody leaves the queue: who joins it after the first has its
    time in `queued_s`.
    """
    starts = iterations["start_s"].to_numpy()
    row = np.searchsorted(starts, times, side="right") - 1
    ends = starts + durations_s(iterations)
    under_way = (row >= 0) & (times <= ends[np.maximum(row, 0)])
    joined = np.sort(queued_s)
    since = np.searchsorted(joined, times, side="right") - np.searchsorted(joined, starts[row], side="right")
    running, waiting = (iterations[name].to_numpy()[row] for name in ("running", "waiting"))
    found = {"running": running, "waiting": waiting + since}
    return pd.DataFrame({"t": times, **{name: np.where(under_way, values, 0) for name, values in found.items()}})


def compare_curves(curves: pd.DataFrame) -> dict[str, dict[str, Pair]]:
    """Mean and largest number of each curve."""
    found = {}
    for name in ("running", "waiting"):
        real, simulated = (curves[f"{name}_{side}"] for side in ("real", "simulated"))
        found[name] = {
            "mean": Pair(float(real.mean()), float(simulated.mean())),
            "max": Pair(float(real.max()), float(simulated.max())),
        }
    return found
