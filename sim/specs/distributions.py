"""Distributions a config can name: of token counts (whole numbers >= 1) and of durations (seconds)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.specs.base import PositiveFloat, PositiveInt, Spec


class FixedTokens(Spec):
    """Always `value` tokens."""

    distribution: Literal["fixed"]
    value: PositiveInt


class UniformTokens(Spec):
    """Every whole number from `low` to `high`, both included, equally likely."""

    distribution: Literal["uniform"]
    low: PositiveInt
    high: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> UniformTokens:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")
        return self


class GeometricTokens(Spec):
    """1, 2, 3 … with success probability 1/mean: the memoryless length."""

    distribution: Literal["geometric"]
    mean: Annotated[float, Field(ge=1)]


class LognormalTokens(Spec):
    """Lognormal with this mean and coefficient of variation, rounded to whole tokens, at least 1."""

    distribution: Literal["lognormal"]
    mean: Annotated[float, Field(ge=1)]
    cv: PositiveFloat


class FixedDuration(Spec):
    """Always `value` seconds."""

    distribution: Literal["fixed"]
    value: PositiveFloat


class ExponentialDuration(Spec):
    """Exponential with this mean, seconds."""

    distribution: Literal["exponential"]
    mean: PositiveFloat


class LognormalDuration(Spec):
    """Lognormal with this mean (seconds) and coefficient of variation."""

    distribution: Literal["lognormal"]
    mean: PositiveFloat
    cv: PositiveFloat


Tokens = Annotated[FixedTokens | UniformTokens | GeometricTokens | LognormalTokens, Field(discriminator="distribution")]
Duration = Annotated[FixedDuration | ExponentialDuration | LognormalDuration, Field(discriminator="distribution")]
