"""The `engine.speculation` section: drafts that the model checks all at once, and how many of them are right."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.specs.base import Spec
from sim.specs.model import ModelSpec

MOST_DRAFTS = 1000
"""More at once nobody asks for."""

Share = Annotated[float, Field(ge=0, le=1)]
Drafts = Annotated[int, Field(ge=1, le=MOST_DRAFTS)]


class ConstantAcceptance(Spec):
    """A draft is right at this rate, whatever its position, if all before it were."""

    kind: Literal["constant"]
    rate: Share

    def survival(self, drafts: int) -> list[float]:
        """P(the first j drafts are right), j from 1: α^j."""
        return [self.rate**j for j in range(1, drafts + 1)]


class GeometricAcceptance(Spec):
    """Where all before were right, the first draft is right at `rate`, each further one at `ratio` times that."""

    kind: Literal["geometric"]
    rate: Share
    ratio: Share

    def survival(self, drafts: int) -> list[float]:
        """P(the first j drafts are right), j from 1: α^j ρ^(j(j - 1)/2)."""
        rates = (self.rate * self.ratio**position for position in range(drafts))
        return list(accumulate(rates, lambda before, rate: before * rate))


class PerPositionAcceptance(Spec):
    """`rates[j]` of all rounds have their first j + 1 drafts right: what vLLM reports as per-position acceptance."""

    kind: Literal["per_position"]
    rates: Annotated[list[Share], Field(min_length=1, max_length=MOST_DRAFTS)]

    @model_validator(mode="after")
    def _falls(self) -> PerPositionAcceptance:
        for one, following in pairwise(self.rates):
            if following > one:
                raise ValueError(
                    f"rates: {following:g} follows {one:g}, must not rise: a draft is right only where those before it "
                    "are; give the share of rounds that got so far"
                )
        return self

    def survival(self, drafts: int) -> list[float]:
        """P(the first j drafts are right), j from 1."""
        return self.rates[:drafts]


class PerRequestAcceptance(Spec):
    """Every request has a rate of its own, drawn from a Beta distribution with this mean and standard deviation.

    It holds at every position, as a constant one would. Code repeats itself, prose does not: what one rate for all
    would average away.
    """

    kind: Literal["per_request"]
    mean: Annotated[float, Field(gt=0, lt=1)]
    std: Annotated[float, Field(ge=1e-6)]

    @model_validator(mode="after")
    def _is_a_beta(self) -> PerRequestAcceptance:
        widest = math.sqrt(self.mean * (1 - self.mean))
        if self.std >= widest:
            raise ValueError(
                f"std: got {self.std:g}, must be below {widest:.4g} with mean {self.mean:g}: rates between 0 and 1 "
                "cannot lie further apart; lower it"
            )
        return self

    @property
    def beta(self) -> tuple[float, float]:
        """The two parameters of the distribution: m·n and (1 - m)·n with n = m(1 - m)/s² - 1."""
        weight = self.mean * (1 - self.mean) / self.std**2 - 1
        return self.mean * weight, (1 - self.mean) * weight

    def survival(self, drafts: int) -> list[float]:
        """P(the first j drafts are right), j from 1, over all requests: the Beta's j-th moment."""
        one, other = self.beta
        moments = ((one + before) / (one + other + before) for before in range(drafts))
        return list(accumulate(moments, lambda so_far, factor: so_far * factor))


AcceptanceSpec = Annotated[
    ConstantAcceptance | GeometricAcceptance | PerPositionAcceptance | PerRequestAcceptance, Field(discriminator="kind")
]


class SpeculationSpec(Spec):
    """Speculative decoding: each iteration verifies `num_speculative_tokens` drafts a request besides its next token.

    `ngram` looks them up in the request's own text and finds some in `match_share` of the rounds; in the others vLLM's
    drafts repeat the last token, which is verified in vain. `draft_model` has `model`, of the same vocabulary, write
    them one by one. `acceptance` says how often they are right; of n-gram drafts, of those that were found.
    """

    method: Literal["draft_model", "ngram"]
    num_speculative_tokens: Drafts
    acceptance: AcceptanceSpec
    match_share: Share | None = None
    model: ModelSpec | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> SpeculationSpec:
        if self.method == "draft_model" and self.model is None:
            raise ValueError("model is missing: method draft_model needs the model that drafts; add it, or use ngram")
        if self.method == "ngram" and self.model is not None:
            raise ValueError(
                f"model: got {self.model.name}, but method ngram copies its drafts from the text; drop the line or use "
                "draft_model"
            )
        if self.method == "draft_model" and self.match_share is not None:
            raise ValueError(
                f"match_share: got {self.match_share:g}, but only ngram can fail to find a draft; drop the line"
            )
        rates = self.acceptance.rates if isinstance(self.acceptance, PerPositionAcceptance) else None
        if rates is not None and len(rates) != self.num_speculative_tokens:
            raise ValueError(
                f"acceptance.rates: got {len(rates)} rates, must be one for each of num_speculative_tokens "
                f"{self.num_speculative_tokens}; give as many"
            )
        return self

    @property
    def num_lookahead_tokens(self) -> int:
        """KV slots kept beyond the tokens of an iteration, into which a draft model writes ahead.

        vLLM 0.33.0, vllm/config/vllm.py: none for n-gram lookup, as many as there are drafts for a draft model.
        """
        return self.num_speculative_tokens if self.method == "draft_model" else 0

    @property
    def draft_slots(self) -> int:
        """Tokens of the budget that each request of an iteration takes besides its own.

        vLLM 0.33.0, vllm/config/speculative.py `max_num_new_slots_for_drafting`: a draft model reads one token more of
        each request than the model that it drafts for.
        """
        return 1 if self.method == "draft_model" else 0

    @property
    def found_share(self) -> float:
        """Share of rounds that have drafts to hope for."""
        return 1.0 if self.match_share is None else self.match_share

    @property
    def tokens_per_round(self) -> float:
        """Expected output of a round of `num_speculative_tokens` drafts, the model's own next token included.

        1 + the sum of P(the first j are right); of a constant rate (1 - α^(k+1))/(1 - α), Leviathan et al.,
        "Fast Inference from Transformers via Speculative Decoding" (arXiv 2211.17192), equation 1.
        """
        return 1 + self.found_share * sum(self.acceptance.survival(self.num_speculative_tokens))
