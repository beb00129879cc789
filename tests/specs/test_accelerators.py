"""The accelerator catalogue: plausible, dense, sourced."""

import pytest

from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec

RIDGE_BF16 = {  # FLOP per HBM byte, from the datasheets
    "a100-40gb-sxm": 201, "a100-80gb-sxm": 153, "h100-sxm": 295, "h200-sxm": 206, "b200-sxm": 281,
    "l4": 403, "l40s": 419, "rtx-4090": 164, "mi300x": 247,
}  # fmt: skip


def accelerator(name):
    return AcceleratorSpec.model_validate(catalogue.entry("accelerators", name, "accelerator"))


def test_the_catalogue_is_this_list():
    assert catalogue.names("accelerators") == sorted(RIDGE_BF16)


@pytest.mark.parametrize("name", RIDGE_BF16)
def test_ridge_point_and_source(name):
    spec = accelerator(name)
    assert spec.name == name
    assert spec.peak_flop_per_s["bfloat16"] / spec.memory_bytes_per_s == pytest.approx(RIDGE_BF16[name], rel=0.01)
    assert spec.source
    assert spec.efficiency.source


@pytest.mark.parametrize("name", RIDGE_BF16)
def test_peaks_are_dense_not_sparse(name):
    peaks = accelerator(name).peak_flop_per_s
    assert peaks.get("float8", 0) <= 2.05 * peaks["bfloat16"]
