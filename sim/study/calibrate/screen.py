"""Which measured rows cannot be: faster than the peak arithmetic or the memory bandwidth allow.

Tables hold such rows where a kernel did not run, or where what it reads was still in a cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec

IMPOSSIBLE = "faster than the peak"


def possible(seconds: pd.Series, flops: Any, memory_bytes: Any, peak: float, bandwidth: float) -> NDArray[np.bool_]:
    """Whether each row takes as long as it must at the peaks."""
    least = np.maximum(np.asarray(flops, dtype=float) / peak, np.asarray(memory_bytes, dtype=float) / bandwidth)
    return np.asarray(seconds.to_numpy() >= least)


def peak_of(accelerator: AcceleratorSpec, dtype: str, operator: str) -> float:
    """Peak FLOP/s of a data type. Raises InputError where the accelerator has none."""
    known = accelerator.peak_flop_per_s
    if dtype not in known:
        raise InputError(
            f"--ops: {operator}: {accelerator.name} lists no peak of {dtype} (it has {', '.join(known)}); "
            "remove those rows, or add it to peak_flop_per_s"
        )
    return float(known[dtype])


def kept(table: pd.DataFrame, screens: dict[str, NDArray[np.bool_]], operator: str, least: int) -> pd.DataFrame:
    """The rows that pass every screen. Raises InputError where fewer than `least` are left, saying what took them."""
    passed = np.logical_and.reduce(list(screens.values())) if screens else np.ones(len(table), dtype=bool)
    impossible = 0 if IMPOSSIBLE not in screens else int((~screens[IMPOSSIBLE]).sum())
    if 2 * impossible > len(table):
        raise InputError(
            f"--ops: {operator}: {impossible} of {len(table)} rows are faster than the accelerator's peak allows; "
            "check the unit of the times, and that --accelerator is the device they were measured on"
        )
    if passed.sum() < least:
        taken = ", ".join(f"{int((~passes).sum())} {reason}" for reason, passes in screens.items() if not passes.all())
        raise InputError(
            f"--ops: {operator}: {int(passed.sum())} of {len(table)} rows can be used{f' ({taken})' if taken else ''}, "
            f"its constants need {least}; measure more, or leave the operator out"
        )
    return table[passed]


def screened(screens: dict[str, NDArray[np.bool_]]) -> dict[str, int]:
    """How many rows each screen took, in order: a row counts for the first."""
    taken: dict[str, int] = {}
    standing: NDArray[np.bool_] | None = None
    for reason, passes in screens.items():
        standing = np.ones(len(passes), dtype=bool) if standing is None else standing
        count = int((standing & ~passes).sum())
        if count:
            taken[reason] = count
        standing &= passes
    return taken
