"""How many drafts are right: drawn round by round at the rate that is asked for, or as a recording has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import textbook
from scipy import stats

from sim.specs.request import Request
from sim.specs.speculation import SpeculationSpec
from sim.specs.validation import validate
from sim.workload.acceptance import Acceptance

LEVEL = 0.999
RATES = [0.0, 0.3, 0.7, 0.95, 1.0]


def speculation(acceptance: dict[str, Any], drafts: int = 3, **changes: Any) -> SpeculationSpec:
    values = {"method": "ngram", "num_speculative_tokens": drafts, "acceptance": acceptance, **changes}
    return validate(SpeculationSpec, values)


def constant(rate: float, drafts: int = 3, **changes: Any) -> SpeculationSpec:
    return speculation({"kind": "constant", "rate": rate}, drafts, **changes)


def request(number: int = 0, rounds: int = 1000, **changes: Any) -> Request:
    """With an output after the first for each round."""
    return Request(number, 0.0, 10, rounds + 1, **changes)


def accepted(spec: SpeculationSpec, rounds: int = 20_000, number: int = 0, seed: int = 0) -> np.ndarray:
    return np.array(Acceptance(spec, seed).of(request(number, rounds)))


def assert_mean(sample: np.ndarray, expected: float) -> None:
    """Within the confidence interval of independent draws, or exactly where nothing varies."""
    half_width = stats.norm.ppf((1 + LEVEL) / 2) * sample.std(ddof=1) / np.sqrt(len(sample))
    assert abs(sample.mean() - expected) <= half_width + 1e-12


# ---- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drafts", range(1, 9))
@pytest.mark.parametrize("rate", RATES)
def test_s66_tokens_a_round_are_those_of_the_textbook(rate: float, drafts: int) -> None:
    expected = textbook.speculative_tokens_per_round(rate, drafts)
    spec = constant(rate, drafts)
    assert spec.tokens_per_round == pytest.approx(expected, rel=1e-12)
    assert_mean(1 + accepted(spec), expected)


def test_s66_by_its_numbers() -> None:
    found = [constant(rate, 3).tokens_per_round for rate in (0.8, 0.6, 1.0)]
    assert found == pytest.approx([2.952, 2.176, 4], rel=1e-12)


@pytest.mark.parametrize(
    ("acceptance", "survival"),
    [
        ({"kind": "constant", "rate": 0.8}, [0.8, 0.64, 0.512]),
        ({"kind": "geometric", "rate": 0.8, "ratio": 0.5}, [0.8, 0.8 * 0.4, 0.8 * 0.4 * 0.2]),
        ({"kind": "geometric", "rate": 0.8, "ratio": 1.0}, [0.8, 0.64, 0.512]),
        ({"kind": "geometric", "rate": 0.8, "ratio": 0.0}, [0.8, 0.0, 0.0]),
        ({"kind": "per_position", "rates": [0.9, 0.5, 0.1]}, [0.9, 0.5, 0.1]),
    ],
)
def test_so_many_rounds_get_so_far(acceptance: dict[str, Any], survival: list[float]) -> None:
    spec = speculation(acceptance)
    sample = accepted(spec)
    assert spec.acceptance.survival(3) == pytest.approx(survival, rel=1e-12)
    for position, share in enumerate(survival, start=1):
        assert_mean((sample >= position).astype(float), share)


def test_a_lookup_that_finds_nothing_has_all_its_drafts_rejected() -> None:
    spec = constant(1.0, drafts=4, match_share=0.3)
    assert set(accepted(spec)) == {0, 4}
    assert_mean(accepted(spec), 0.3 * 4)
    assert spec.tokens_per_round == pytest.approx(1 + 0.3 * 4)


# ---- rates that differ from request to request -----------------------------------------------------------------------

BETA = {"kind": "per_request", "mean": 0.7, "std": 0.2}


def test_every_request_has_a_rate_of_its_own() -> None:
    """One draft a round shows it: the rates found have the mean and the deviation asked for."""
    rates = np.array([accepted(speculation(BETA, drafts=1), 500, number).mean() for number in range(2000)])
    of_one = np.sqrt((0.7 - 0.7**2 - 0.2**2) / 500)
    assert_mean(rates, 0.7)
    assert rates.std() == pytest.approx(np.hypot(0.2, of_one), rel=0.05)


def test_tokens_a_round_over_all_requests_are_the_moments_of_the_rates() -> None:
    """More than one rate for all would give: who is right twice has the better rate."""
    spec = speculation(BETA)
    of_each = np.array([accepted(spec, 200, number).mean() for number in range(4000)])
    assert_mean(1 + of_each, spec.tokens_per_round)
    assert spec.tokens_per_round > constant(0.7).tokens_per_round


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.1), (0.9, 0.05), (0.02, 0.1)])
def test_the_beta_has_the_mean_and_deviation_asked_for(mean: float, std: float) -> None:
    acceptance = speculation({"kind": "per_request", "mean": mean, "std": std}).acceptance
    drawn = stats.beta(*acceptance.beta)  # type: ignore[union-attr]
    assert (drawn.mean(), drawn.std()) == pytest.approx((mean, std), rel=1e-9)


# ---- draws -----------------------------------------------------------------------------------------------------------


def test_a_request_has_the_same_rounds_whatever_else_there_is() -> None:
    rule = Acceptance(constant(0.7), seed=5)
    alone = rule.of(request(8))
    assert [rule.of(request(number)) for number in range(10)][8] == alone
    assert Acceptance(constant(0.7), seed=5).of(request(8)._replace(prompt_tokens=99, priority=2)) == alone


def test_requests_and_seeds_differ() -> None:
    rule = Acceptance(constant(0.7), seed=5)
    assert rule.of(request(1)) != rule.of(request(2))
    assert rule.of(request(1)) != Acceptance(constant(0.7), seed=6).of(request(1))


def test_a_longer_answer_begins_with_the_rounds_of_a_shorter_one() -> None:
    rule = Acceptance(speculation(BETA), seed=5)
    assert rule.of(request(rounds=1000))[:300] == rule.of(request(rounds=300))


def test_a_higher_rate_or_more_drafts_accept_no_fewer() -> None:
    """The same number decides a round: runs that differ in nothing else are compared with common random numbers."""
    assert (accepted(constant(0.8)) >= accepted(constant(0.7))).all()
    assert (np.minimum(accepted(constant(0.7, drafts=6)), 3) == accepted(constant(0.7, drafts=3))).all()


@pytest.mark.parametrize("rounds", [0, 1, 3, 500])
def test_there_is_an_entry_for_every_round_an_answer_can_take(rounds: int) -> None:
    assert len(Acceptance(constant(0.0), seed=0).of(request(rounds=rounds))) >= rounds


@pytest.mark.parametrize("rounds", [0, 1, 3, 4, 9])
def test_a_recorded_request_goes_through_its_own_counts_over_and_over(rounds: int) -> None:
    found = Acceptance(constant(1.0), seed=0).of(request(rounds=rounds, accept=(2, 0, 3)))
    assert len(found) >= rounds
    assert all(count == (2, 0, 3)[place % 3] for place, count in enumerate(found))
