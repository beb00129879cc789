"""Numbers as every verb prints them."""

from __future__ import annotations

from typing import get_args

import pytest

from sim.cli.format import number, percent, seconds
from sim.cost.batch import RESOURCE_NAMES, Bound


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (0.012345, "0.0123"), (999.0, "999"), (1000.0, "1,000"), (1234567.8, "1,234,568")],
)
def test_a_number_has_three_digits_and_from_a_thousand_on_all_before_the_point(value, shown):
    assert number(value) == shown


def test_latencies_have_four_digits_and_shares_one_after_the_point():
    assert (seconds(0.0123456), seconds(None)) == ("0.01235", "-")
    assert (percent(0.1234), percent(None)) == ("12.3%", "-")


def test_every_bound_of_a_step_has_words():
    assert set(RESOURCE_NAMES) == set(get_args(Bound))
