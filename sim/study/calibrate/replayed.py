"""A recorded run replayed on an accelerator: how far the means of its latencies are off."""

from __future__ import annotations

from pathlib import Path

from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.end_to_end import METRICS
from sim.study.validate import validate_run


def replay_errors(accelerator: AcceleratorSpec, run: Path) -> dict[str, float]:
    """Signed and relative, of mean TPOT and E2E."""
    metrics = validate_run(run, accelerator=accelerator).metrics
    errors = {name: metrics[name]["mean"].error if name in metrics else None for name in METRICS}
    for name, error in errors.items():
        if error is None:
            raise InputError(f"--runs: {run}: has no mean {name.upper()} to compare with; give another run")
    return {name: error for name, error in errors.items() if error is not None}
