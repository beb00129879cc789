"""The all-reduce: a start-up time and a rate for every number of GPUs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.cost.kernels.communication import all_reduce_s
from sim.errors import InputError
from sim.specs.kernels import AllReduce
from sim.study.calibrate.fitted import LEAST_PER_CONSTANT, Fitted, fit
from sim.study.calibrate.screen import kept
from sim.study.calibrate.solve import Constant

FEWEST, MOST = 2, 1024
"""GPUs that a description of an accelerator may name."""


def fit_all_reduce(gpus: float, table: pd.DataFrame) -> Fitted:
    """Messages among so many GPUs."""
    if not (FEWEST <= gpus <= MOST and gpus == int(gpus)):
        raise InputError(
            f"--ops: all_reduce: gpus: got {gpus:g}, must be a whole number from {FEWEST} to {MOST}; correct or remove "
            "those rows"
        )
    gpus = int(gpus)
    operator = f"all_reduce {gpus}"
    rows = kept(table, {}, operator, 2 * LEAST_PER_CONSTANT)
    size = rows["message_bytes"].to_numpy(float)
    fastest = float((size / rows["seconds"].to_numpy()).max())
    constants = [
        Constant(f"kernels.all_reduce.{gpus}.start_s", float(rows["seconds"].min()), 0.1),
        Constant(f"kernels.all_reduce.{gpus}.bytes_per_s", fastest, 1e15),
    ]
    return fit(
        operator,
        rows,
        lambda values: np.asarray(
            all_reduce_s(size, AllReduce.model_construct(start_s=values[0], bytes_per_s=values[1]))
        ),
        constants,
        ("message_bytes",),
        {},
    )
