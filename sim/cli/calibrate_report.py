"""A calibration as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from sim.cli.format import empty_table
from sim.study.calibrate.calibration import Calibration
from sim.study.calibrate.fitted import Fitted


def print_calibration(console: Console, found: Calibration) -> None:
    """A row an operator with how far it is off, then its constants with their standard errors."""
    name = found.accelerator.name
    shown = empty_table(
        f"{name}: operators, fitted against measured", ["operator"], ["mean |error|", "error", "points"]
    )
    shown.add_column("left out")
    for one in found.operators:
        left_out = ", ".join(f"{count} {reason}" for reason, count in one.screened.items())
        shown.add_row(one.operator, _percent(one.mean_abs_error), f"{100 * one.mean_error:+.1f} %",
                      str(len(one.measured_s)), escape(left_out) or "-")  # fmt: skip
    console.print(shown)
    constants = empty_table(f"{name}: constants", ["constant"], ["value", "standard error"])
    for one in found.operators:
        for constant, value in one.constants.items():
            constants.add_row(escape(constant), f"{value:.4g}", _stated(found, constant))
    if constants.row_count:
        console.print(constants)
    if found.end_to_end is not None:
        for scalar, value in found.end_to_end.values.items():
            console.print(f"kernels.{scalar} {value:.4g} from whole runs", highlight=False)
        for run, after in found.end_to_end.after.items():
            before = found.end_to_end.before[run]
            errors = ", ".join(f"{key.upper()} {_signed(before[key])} -> {_signed(after[key])}" for key in after)
            console.print(escape(f"{run}: {errors}"), highlight=False)


def word_on(one: Fitted) -> str:
    """For a picture: `7.2 % off (+0.4 %), 812 points`."""
    return f"{_percent(one.mean_abs_error)} off ({100 * one.mean_error:+.1f} %), {len(one.measured_s)} points"


def _stated(found: Calibration, constant: str) -> str:
    error = found.standard_errors.get(constant.split(".", 1)[1])
    return "-" if error is None else _percent(error)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"
