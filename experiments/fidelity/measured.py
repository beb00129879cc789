"""What the experiments here share: where measurements are, one simulated point, a table on the screen and on disk."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import sim

RESULTS = Path("results/fidelity")


class Simulated(NamedTuple):
    """Means over requests, milliseconds."""

    ttft_ms: float
    tpot_ms: float
    e2e_ms: float


def arguments(about: str, result: str) -> argparse.ArgumentParser:
    """Options for where measurements are and where the result goes."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("SERVESIM_DATA"),
        help="folder that holds real_runs; default $SERVESIM_DATA",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / result, help="the table")
    return parser


def real_runs(parser: argparse.ArgumentParser, data: Path | None) -> Path:
    """The folder with the measurements."""
    if data is None or not (data / "real_runs").is_dir():
        parser.error("--data (or $SERVESIM_DATA) must name the folder that holds real_runs")
    return data / "real_runs"


def simulate(config: dict[str, Any], skip: int) -> Simulated:
    """One run, without its first `skip` requests. Raises InputError for what is not modelled."""
    requests = sim.run(sim.experiment_from(config)).requests
    rest = requests[requests["request_id"] >= skip]
    return Simulated(*(1e3 * float(rest[name].mean()) for name in ("ttft_s", "tpot_s", "e2e_s")))


def error(simulated: float, real: float) -> float:
    """Simulated over real, less one."""
    return simulated / real - 1


def write(table: pd.DataFrame, path: Path) -> None:
    """The table as CSV, errors to a thousandth and times to a microsecond."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.4g")


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of errors as people read them."""
    return table.assign(**{name: table[name].map("{:+.1%}".format) for name in table if str(name).endswith("error")})
