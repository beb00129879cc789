"""The accelerator catalogue: plausible, dense, sourced."""

import pytest

from sim.config import load_accelerator
from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec

RIDGE_16_BIT = {  # FLOP per byte of memory traffic, from the datasheets
    "a100-40gb-sxm": 201, "a100-80gb-sxm": 153, "h100-sxm": 295, "h100-pcie": 378, "h100-nvl": 214, "h200-sxm": 206,
    "h20": 37, "b200-sxm": 281, "gb200": 313, "l4": 403, "l40s": 419, "a10g": 117, "rtx-4090": 164, "rtx-5090": 117,
    "rtx-pro-6000": 281, "v100-32gb-sxm2": 139, "t4": 203, "mi250x": 117, "mi300x": 247, "mi325x": 218, "mi355x": 315,
    "gaudi-2": 176, "gaudi-3": 496, "tpu-v5e": 241, "tpu-v5p": 166, "tpu-v6e": 560, "groq-lpu": 2.35,
    "ascend-910b": 200,
}  # fmt: skip
TDP_W = {  # watts; Google publishes none
    "a100-40gb-sxm": 400, "a100-80gb-sxm": 400, "h100-sxm": 700, "h100-pcie": 350, "h100-nvl": 400, "h200-sxm": 700,
    "h20": 400, "b200-sxm": 1000, "gb200": 1200, "l4": 72, "l40s": 350, "a10g": 300, "rtx-4090": 450, "rtx-5090": 575,
    "rtx-pro-6000": 600, "v100-32gb-sxm2": 300, "t4": 70, "mi250x": 560, "mi300x": 750, "mi325x": 1000, "mi355x": 1400,
    "gaudi-2": 600, "gaudi-3": 900, "groq-lpu": 300, "ascend-910b": 400,
    "tpu-v5e": None, "tpu-v5p": None, "tpu-v6e": None,
}  # fmt: skip
NVIDIA = ("a100", "h100", "h200", "h20", "b200", "gb200", "l4", "rtx")


def accelerator(name):
    return AcceleratorSpec.model_validate(catalogue.entry("accelerators", name, "accelerator"))


def test_the_catalogue_is_this_list():
    assert catalogue.names("accelerators") == sorted(RIDGE_16_BIT)


@pytest.mark.parametrize("name", RIDGE_16_BIT)
def test_ridge_point_and_source(name):
    spec = accelerator(name)
    peak = spec.peak_flop_per_s.get("bfloat16", spec.peak_flop_per_s.get("float16"))
    assert spec.name == name
    assert peak / spec.memory_bytes_per_s == pytest.approx(RIDGE_16_BIT[name], rel=0.01)
    assert spec.source
    assert spec.efficiency.source


@pytest.mark.parametrize("name", [name for name in RIDGE_16_BIT if name.startswith(NVIDIA)])
def test_peaks_are_dense_not_sparse(name):
    peaks = accelerator(name).peak_flop_per_s
    assert peaks.get("float8", 0) <= 2.05 * peaks["bfloat16"]


@pytest.mark.parametrize("name", RIDGE_16_BIT)
def test_power_is_the_sheets_and_prices_are_the_users_to_give(name):
    spec = accelerator(name)
    assert spec.power_w == TDP_W[name]
    assert spec.price_per_hour is None


@pytest.mark.parametrize(("field", "value"), [("power_w", 0), ("power_w", "700 W"), ("price_per_hour", -1)])
def test_power_and_price_that_cannot_be_are_refused(field, value):
    written = catalogue.entry("accelerators", "h20", "accelerator") | {field: value}
    with pytest.raises(InputError, match=f"accelerator.{field}: got {value!r}, must be .*; correct the value or drop"):
        load_accelerator(written)
