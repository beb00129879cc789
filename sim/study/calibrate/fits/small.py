"""The sampler, and plain copies, which say what of the bandwidth streaming kernels reach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.cost.kernels.sampler import sampler_s
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.fitted import LEAST_PER_CONSTANT, Fitted, fit
from sim.study.calibrate.screen import IMPOSSIBLE, kept, possible, screened
from sim.study.calibrate.solve import Constant

START_S = "start_s"


def fit_sampler(table: pd.DataFrame) -> Fitted:
    """A start-up time and one a sequence."""
    rows = kept(table, {}, "sampler", 2 * LEAST_PER_CONSTANT)
    sequences = rows["sequences"].to_numpy(float)
    constants = [Constant("kernels.sampler_start_s", 25e-6, 0.1), Constant("kernels.sampler_row_s", 0.7e-6, 0.1)]
    return fit("sampler", rows, lambda values: np.asarray(sampler_s(sequences, *values)), constants, ("sequences",), {})


def fit_copy(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """Bytes read and written over a share of the bandwidth; the start-up of a copy is the copy's own."""
    moved = 2 * table["copied_bytes"].to_numpy(float)
    bandwidth = accelerator.memory_bytes_per_s
    screens = {IMPOSSIBLE: possible(table["seconds"], 0.0, moved, 1.0, bandwidth)}
    rows = kept(table, screens, "copy", 2 * LEAST_PER_CONSTANT)
    moved = 2 * rows["copied_bytes"].to_numpy(float)
    found = fit(
        "copy",
        rows,
        lambda values: np.asarray(values[1] + moved / (bandwidth * values[0])),
        [Constant("kernels.elementwise_memory", 0.8, 1.0), Constant(START_S, 4e-6, 0.1)],
        ("copied_bytes",),
        screened(screens),
    )
    found.constants.pop(START_S)
    found.standard_errors.pop(START_S, None)
    return found
