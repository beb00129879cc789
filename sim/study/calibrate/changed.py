"""An accelerator with other constants, named as in its file: `kernels.float8_gemm.compute`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.validation import validate

DIGITS = 4


def changed(accelerator: AcceleratorSpec, constants: Mapping[str, float]) -> AcceleratorSpec:
    """The accelerator with the `constants` to four digits.

    Raises InputError for what is beyond the bounds of an accelerator's file.
    """
    whole = accelerator.model_dump()
    for name, value in constants.items():
        *sections, last = name.split(".")
        at: Any = whole
        for section in sections:
            key = int(section) if section.isdigit() else section
            if at.get(key) is None:
                at[key] = {}
            at = at[key]
        at[last] = float(f"{value:.{DIGITS}g}") if value > 1e-15 else 0.0
    try:
        return validate(AcceleratorSpec, whole)
    except InputError as error:
        what = str(error).partition(";")[0]
        raise InputError(
            f"--ops: no accelerator is as the rows say: {what}; check the unit of the times, and that --accelerator is "
            "the device they were measured on"
        ) from None
