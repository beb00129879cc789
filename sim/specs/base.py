"""The base of every description: frozen, strict, and intolerant of unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_UNITS, MOST_LAYERS, MOST_HEADS = 10**9, 10**4, 10**4
"""The largest credible width, count or length of a part of a model, and numbers of its layers and attention heads."""

PositiveInt = Annotated[int, Field(ge=1, le=10**15)]
Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Heads = Annotated[int, Field(ge=1, le=MOST_HEADS)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Tokens = Annotated[int, Field(ge=1, le=10**9)]
MeanTokens = Annotated[float, Field(ge=1, le=1e9)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
SecondsOrZero = Annotated[float, Field(ge=0, le=1e9)]
CoefficientOfVariation = Annotated[float, Field(ge=1e-3, le=1e3)]
Fraction = Annotated[float, Field(gt=0, le=1)]

UNLIMITED = 2**62
"""More tokens, blocks or iterations than there will ever be, and still small enough to be added to."""


class Spec(BaseModel):
    """A validated, immutable description read from YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)
