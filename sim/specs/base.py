"""The base of every description: frozen, strict, and intolerant of unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Tokens = Annotated[int, Field(ge=1, le=10**9)]
MeanTokens = Annotated[float, Field(ge=1, le=1e9)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
SecondsOrZero = Annotated[float, Field(ge=0, le=1e9)]
CoefficientOfVariation = Annotated[float, Field(ge=1e-3, le=1e3)]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Spec(BaseModel):
    """A validated, immutable description read from YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)
