"""All operators of some tables fitted for one accelerator, and the accelerator with what was found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.changed import changed
from sim.study.calibrate.end_to_end import EndToEnd
from sim.study.calibrate.fits.attention import compare_mixed, fit_decode, fit_prefill
from sim.study.calibrate.fits.communication import fit_all_reduce
from sim.study.calibrate.fits.experts import fit_experts
from sim.study.calibrate.fits.gemm import compare_lm_head, fit_gemm
from sim.study.calibrate.fits.small import fit_copy, fit_sampler
from sim.study.calibrate.fitted import Fitted
from sim.study.calibrate.operators import ALL_REDUCE, COPY, DECODE, EXPERTS, GEMM, LM_HEAD, MIXED, SAMPLER, Tables
from sim.version import __version__

MOST_ERROR = 2.0
"""The largest relative standard error that a description may state."""
TABLE_ERROR = 0.03
"""How far two tables of one chip are apart (H100 and H200; two sources of the RTX PRO 6000), which resampling of one
cannot show: added in quadrature."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted, on which files, and the `accelerator` with it."""

    accelerator: AcceleratorSpec
    operators: tuple[Fitted, ...]
    sources: tuple[str, ...]
    end_to_end: EndToEnd | None = None

    @property
    def standard_errors(self) -> dict[str, float]:
        """Relative, by the name that `kernels.standard_errors` gives a constant."""
        return self.accelerator.kernels.standard_errors

    def to_dict(self) -> dict[str, Any]:
        """The object that --json prints; docs/calibrate.md describes it."""
        return {
            "accelerator": self.accelerator.model_dump(exclude_none=True),
            "sources": list(self.sources),
            "operators": {one.operator: one.to_dict() for one in self.operators},
            "end_to_end": None if self.end_to_end is None else self.end_to_end.to_dict(),
        }


def calibrate(tables: Tables, accelerator: AcceleratorSpec, sources: tuple[str, ...]) -> Calibration:
    """Fit what the tables hold; everything else stays as `accelerator` has it."""
    if not tables:
        raise InputError("--ops: the files hold no rows of any operator; give tables with measured operators")
    found: list[Fitted] = []
    for fit in _fits(tables):
        one = fit(accelerator)
        found.append(one)
        accelerator = changed(accelerator, one.constants)
    errors = {_short(name): _stated(error) for one in found for name, error in one.standard_errors.items()}
    whole = accelerator.kernels.standard_errors | errors
    source = f"servesim {__version__}, {datetime.now(UTC):%Y-%m-%d}, fitted on {', '.join(sources)}"
    accelerator = accelerator.model_copy(
        update={
            "efficiency": accelerator.efficiency.model_copy(update={"source": source}),
            "kernels": accelerator.kernels.model_copy(update={"standard_errors": whole, "source": source}),
        }
    )
    return Calibration(accelerator, tuple(found), sources)


def with_end_to_end(calibration: Calibration, found: EndToEnd) -> Calibration:
    """The calibration with the scalars that bring whole runs nearest."""
    constants = {f"kernels.{name}": value for name, value in found.values.items()}
    return replace(calibration, accelerator=changed(calibration.accelerator, constants), end_to_end=found)


def _fits(tables: Tables) -> Iterator[Any]:
    """A function of the accelerator so far for each operator, in the order in which they need one another."""
    for dtype, rows in _parts(tables, GEMM, "dtype"):
        yield lambda device, dtype=dtype, rows=rows: fit_gemm(dtype, rows, device)
    if LM_HEAD in tables:
        yield lambda device: compare_lm_head(tables[LM_HEAD], device)
    prompts = tables.get(MIXED)
    alone = None if prompts is None else prompts[prompts["decodes"] == 0]
    if alone is not None and len(alone):
        yield lambda device: fit_prefill(alone, device)
    if DECODE in tables:
        yield lambda device: fit_decode(tables[DECODE], device)
    if prompts is not None and alone is not None and len(alone) < len(prompts):
        yield lambda device: compare_mixed(prompts[prompts["decodes"] > 0], device)
    for gpus, rows in _parts(tables, ALL_REDUCE, "gpus"):
        yield lambda _, gpus=gpus, rows=rows: fit_all_reduce(gpus, rows)
    for dtype, rows in _parts(tables, EXPERTS, "dtype"):
        yield lambda device, dtype=dtype, rows=rows: fit_experts(dtype, rows, device)
    if SAMPLER in tables:
        yield lambda _: fit_sampler(tables[SAMPLER])
    if COPY in tables:
        yield lambda device: fit_copy(tables[COPY], device)


def _parts(tables: Tables, operator: str, column: str) -> Iterator[tuple[Any, Any]]:
    if operator in tables:
        yield from tables[operator].groupby(column, sort=True)


def _stated(resampled: float) -> float:
    return float(f"{min(math.hypot(resampled, TABLE_ERROR), MOST_ERROR):.2g}")


def _short(name: str) -> str:
    return name.split(".", 1)[1]
