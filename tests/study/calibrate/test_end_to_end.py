"""Gaps and clock from whole runs, with a replay that is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from sim.config import load_accelerator
from sim.errors import InputError
from sim.study.calibrate.end_to_end import fit_end_to_end
from sim.study.calibrate.replayed import replay_errors

SHORT, LONG = Path("short"), Path("long")


def replay(accelerator, run):
    """As were the gaps 1.4 µs and the clock 1.05; gaps are a third of short steps, a tenth of long ones."""
    share = {SHORT: 1 / 3, LONG: 0.1}[run]
    kernels = accelerator.kernels
    error = share * kernels.gap_s / 1.4e-6 + (1 - share) * kernels.clock / 1.05 - 1
    return {"tpot": error, "e2e": 0.9 * error}


def test_one_scalar_is_found():
    found = fit_end_to_end(synthetic.base(), [SHORT], lambda device, run: replay(clocked(device), run))
    assert found.values == {"gap_s": pytest.approx(1.4e-6, rel=5e-3)}
    assert abs(found.before["short"]["tpot"]) > 0.1
    assert abs(found.after["short"]["e2e"]) < 2e-3


def test_two_runs_tell_gaps_from_the_clock():
    found = fit_end_to_end(synthetic.base(), [SHORT, LONG], replay, ["gap_s", "clock"])
    assert found.values == {"gap_s": pytest.approx(1.4e-6, rel=0.01), "clock": pytest.approx(1.05, rel=5e-3)}


def clocked(accelerator):
    kernels = accelerator.kernels.model_copy(update={"clock": 1.05})
    return accelerator.model_copy(update={"kernels": kernels})


@pytest.mark.parametrize(
    ("runs", "scalars", "message"),
    [
        ([], ["gap_s"], "--runs: no folders"),
        ([SHORT], [], "--scalars: none given"),
        ([SHORT], ["gap"], "--scalars: unknown 'gap'; did you mean 'gap_s'"),
        ([SHORT], ["clock", "clock"], "give each once"),
        ([SHORT], ["gap_s", "clock"], "one run cannot tell gap_s from clock"),
    ],
)
def test_what_cannot_be_settled_is_refused(runs, scalars, message):
    with pytest.raises(InputError, match=message):
        fit_end_to_end(synthetic.base(), runs, replay, scalars)


@pytest.mark.parametrize(
    ("run", "name"), [("rtx4090_llama31_8b", "rtx-4090"), ("rtxpro6000_llama31_8b", "rtx-pro-6000")]
)
def test_real_runs_have_the_gaps_of_the_catalogue(measured_data, run, name):
    found = fit_end_to_end(load_accelerator(name), [measured_data / "real_runs" / run], replay_errors)
    assert found.values["gap_s"] == pytest.approx(1.9e-6, rel=0.35)
    assert all(abs(error) < 0.01 for errors in found.after.values() for error in errors.values())
