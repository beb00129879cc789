"""The accelerator catalogue: plausible, dense, sourced."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unfit_values import UNFIT, places, replaced

from sim.config import load_accelerator
from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.validation import validate

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


@pytest.mark.parametrize("name", ["gap", "float8_gemm.computes", "all_reduce.two.start_s", "error"])
def test_an_error_of_no_constant_is_refused(name):
    data = catalogue.entry("accelerators", "h100-sxm", "accelerator")
    errors = {"all_reduce.64.start_s": 0.1, "link": 0.1, name: 0.1}
    with pytest.raises(InputError, match=rf"^h: kernels\.standard_errors: unknown constant '{name}'; .*gap_s"):
        validate(AcceleratorSpec, data | {"kernels": {"standard_errors": errors}}, "h")


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


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("memory_bytes", 24, 10**6),  # GB where bytes belong
        ("memory_bytes", 10**400, 10**15),
        ("memory_bytes_per_s", 5e-324, 1e6),
        ("memory_bytes_per_s", 1e308, 1e18),
        ("link_bytes_per_s", 5e-324, 1e6),
        ("link_latency_s", 1e308, 1),
        ("power_w", 1e308, 1e6),
        ("price_per_hour", 1e308, 1e9),
    ],
)
def test_what_no_device_could_have_is_refused_with_the_bound(field, value, bound):
    written = catalogue.entry("accelerators", "h20", "accelerator") | {field: value}
    with pytest.raises(InputError, match=rf"accelerator.{field}: got .*, must be .* {bound:.0f}; correct the value"):
        load_accelerator(written)


@pytest.mark.parametrize(("part", "key"), [("peak_flop_per_s", "bfloat16"), ("efficiency", "gemm_memory")])
@pytest.mark.parametrize("value", [5e-324, 1e308])
def test_so_are_peaks_and_efficiencies(part, key, value):
    entry = catalogue.entry("accelerators", "l4", "accelerator")
    found = re.escape(f"accelerator.{part}.{key}: got {value}")
    with pytest.raises(InputError, match=f"{found}, must be (greater|less) than or equal to"):
        load_accelerator(entry | {part: entry[part] | {key: value}})


H20 = catalogue.entry("accelerators", "h20", "accelerator")


@given(st.sampled_from(list(places(H20))), UNFIT)
def test_any_value_anywhere_is_read_or_refused(place, value):
    try:
        found = load_accelerator(replaced(H20, place, value))
    except InputError as error:
        refusal = str(error)
        assert refusal.startswith("accelerator.")
        assert len(refusal) < 1000
    else:
        assert 1e6 <= found.memory_bytes_per_s <= 1e18
