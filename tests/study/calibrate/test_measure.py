"""Timing operators, with the timer replaced; and the real timer, with PyTorch replaced."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import ModuleType
from unittest.mock import MagicMock

import pytest
import synthetic

from sim.errors import InputError
from sim.study.calibrate.calibration import calibrate
from sim.study.calibrate.fits import attention, gemm
from sim.study.calibrate.measure import measure
from sim.study.calibrate.measure.calls import calls
from sim.study.calibrate.measure.torch_timer import TorchTimer
from sim.study.calibrate.operators import COPY, DECODE, GEMM, MIXED


def device_timer(call):
    """What the made-up device takes."""
    import pandas as pd

    row = pd.DataFrame([call.row])
    if call.operator == GEMM:
        return float(gemm.predicted(row, "bfloat16", synthetic.device(), synthetic.of(*gemm.NAMES["bfloat16"]))[0])
    if call.operator == DECODE:
        return float(attention.predicted_decode(row, synthetic.device(), synthetic.of(*attention.DECODE))[0])
    if call.operator == MIXED:
        return float(attention.predicted_mixed(row, synthetic.device(), synthetic.of(*attention.PREFILL))[0])
    return 4e-6 + 2 * call.row["copied_bytes"] / (0.88 * synthetic.device().memory_bytes_per_s)


def test_what_is_measured_suffices_to_fit():
    heard = []
    tables = measure(device_timer, lambda done, of: heard.append((done, of)))
    assert set(tables) == {GEMM, DECODE, MIXED, COPY}
    count = len(list(calls()))
    assert heard[-1] == (count, count)
    found = calibrate(tables, synthetic.base(), ("measured.csv",))
    values = {name: value for one in found.operators for name, value in one.constants.items()}
    assert values == pytest.approx({name: synthetic.TRUTH[name] for name in values}, rel=0.01)


def test_calls_that_do_not_fit_are_left_out():
    tables = measure(lambda call: None if call.operator == MIXED else device_timer(call))
    assert set(tables) == {GEMM, DECODE, COPY}
    with pytest.raises(InputError, match="--measure: no call could be timed"):
        measure(lambda _: None)


class TooLittleMemory(Exception):
    pass


@pytest.fixture
def torch(monkeypatch):
    """A PyTorch whose every replay takes 2 ms."""
    made = MagicMock()
    made.__version__, made.version.cuda = "2.9", "12.8"
    made.cuda.is_available.return_value = True
    made.cuda.OutOfMemoryError = TooLittleMemory
    made.cuda.stream.side_effect = made.cuda.graph.side_effect = lambda _: nullcontext()
    made.cuda.Event.side_effect = lambda **_: MagicMock(elapsed_time=lambda _: 2.0)
    monkeypatch.setitem(sys.modules, "torch", made)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    return made


def test_every_call_can_be_made_with_pytorch(torch):
    timer = TorchTimer()
    assert timer.versions == {"torch": "2.9", "cuda": "12.8"}
    plan = {call.operator: call for call in calls()}
    assert [timer(call) for call in plan.values()] == [pytest.approx(2e-3)] * 4
    attend = torch.nn.functional.scaled_dot_product_attention
    assert {call.kwargs.get("is_causal", False) for call in attend.call_args_list} == {True, False}


def test_decodes_use_flash_attn_where_it_is(torch, monkeypatch):
    flash = MagicMock(spec=ModuleType, flash_attn_with_kvcache=MagicMock())
    monkeypatch.setitem(sys.modules, "flash_attn", flash)
    decode = next(call for call in calls() if call.operator == DECODE)
    assert TorchTimer()(decode) == pytest.approx(2e-3)
    assert flash.flash_attn_with_kvcache.called


def test_too_little_memory_is_no_error(torch):
    torch.randn.side_effect = TooLittleMemory
    assert TorchTimer()(next(calls())) is None


def test_without_pytorch_or_a_gpu_the_remedy_is_told(torch, monkeypatch):
    torch.cuda.is_available.return_value = False
    with pytest.raises(InputError, match="finds no CUDA device here; run it on the machine with the GPU"):
        TorchTimer()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"needs PyTorch, which is not installed; pip install 'servesim\[measure\]'"):
        TorchTimer()
