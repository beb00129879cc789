"""Distributions a config can name: of token counts (whole numbers >= 1) and of durations (seconds)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sim.specs.base import CoefficientOfVariation, MeanTokens, Seconds, Spec, Tokens


class FixedTokens(Spec):
    """Always `value` tokens."""

    distribution: Literal["fixed"]
    value: Tokens


class UniformTokens(Spec):
    """Every whole number from `low` to `high`, both included, equally likely."""

    distribution: Literal["uniform"]
    low: Tokens
    high: Tokens

    @model_validator(mode="after")
    def _ordered(self) -> UniformTokens:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")
        return self


class GeometricTokens(Spec):
    """1, 2, 3 … with success probability 1/mean: the memoryless length."""

    distribution: Literal["geometric"]
    mean: MeanTokens


class LognormalTokens(Spec):
    """Lognormal with this mean and coefficient of variation, rounded to whole tokens, at least 1."""

    distribution: Literal["lognormal"]
    mean: MeanTokens
    cv: CoefficientOfVariation


class FixedDuration(Spec):
    """Always `value` seconds."""

    distribution: Literal["fixed"]
    value: Seconds


class ExponentialDuration(Spec):
    """Exponential with this mean, seconds."""

    distribution: Literal["exponential"]
    mean: Seconds


class LognormalDuration(Spec):
    """Lognormal with this mean (seconds) and coefficient of variation."""

    distribution: Literal["lognormal"]
    mean: Seconds
    cv: CoefficientOfVariation


LengthDistribution = Annotated[
    FixedTokens | UniformTokens | GeometricTokens | LognormalTokens, Field(discriminator="distribution")
]


def _number_is_fixed(value: Any) -> Any:
    """A bare whole number means that it is always that."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"distribution": "fixed", "value": value}
    if not isinstance(value, dict | Spec):
        raise ValueError(
            f"got {value!r}, must be a whole number or a distribution such as {{distribution: geometric, mean: 5}}; "
            "correct the value"
        )
    return value


NumberOrDistribution = Annotated[LengthDistribution, BeforeValidator(_number_is_fixed)]
"""A count, of tokens or of something else, written as a distribution or as the number that it always is."""


def _time_is_fixed(value: Any) -> Any:
    """A bare number of seconds means that it is always that."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"distribution": "fixed", "value": float(value)}
    return value


DurationDistribution = Annotated[
    FixedDuration | ExponentialDuration | LognormalDuration,
    Field(discriminator="distribution"),
    BeforeValidator(_time_is_fixed),
]
"""Seconds, written as a distribution or as the number that they always are."""
