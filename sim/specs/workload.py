"""The `workload` section: when requests come and how long they are, or a trace of both."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from sim.specs.base import (
    CoefficientOfVariation,
    NonNegativeFloat,
    PositiveFloat,
    Seconds,
    SecondsOrZero,
    Spec,
    Tokens,
)
from sim.specs.distributions import DurationDistribution, NumberOrDistribution


class PoissonArrivals(Spec):
    """Independent exponential gaps; `rate` in requests per second."""

    process: Literal["poisson"]
    rate: PositiveFloat


class GammaArrivals(Spec):
    """Independent gamma gaps with coefficient of variation `cv`: above 1 is bursty, 1 is Poisson."""

    process: Literal["gamma"]
    rate: PositiveFloat
    cv: CoefficientOfVariation


class DeterministicArrivals(Spec):
    """One request every 1/rate seconds, the first at once."""

    process: Literal["deterministic"]
    rate: PositiveFloat


class AllAtOnce(Spec):
    """Every request at time 0: offline inference."""

    process: Literal["all_at_once"]


class RateSegment(Spec):
    """`rate` requests per second up to the time `until_s`."""

    until_s: Seconds
    rate: NonNegativeFloat


class PiecewiseArrivals(Spec):
    """Poisson with a rate that is constant by segments; the last segment's rate goes on beyond its end."""

    process: Literal["piecewise"]
    rates: list[RateSegment]

    @model_validator(mode="after")
    def _a_rate_at_every_time(self) -> PiecewiseArrivals:
        if not self.rates:
            raise ValueError("rates is empty; give at least one {until_s, rate}")
        for before, after in pairwise(self.rates):
            if after.until_s <= before.until_s:
                raise ValueError(f"until_s {after.until_s:g} follows {before.until_s:g}; order the rates by time")
        if self.rates[-1].rate == 0:
            raise ValueError("the last rate is 0, after which nothing would ever arrive; end with a rate above 0")
        return self


class DiurnalArrivals(Spec):
    """Poisson with the rate mean_rate * (1 + amplitude * sin(2 pi t / period_s)), requests per second."""

    process: Literal["diurnal"]
    mean_rate: PositiveFloat
    amplitude: Annotated[float, Field(ge=0, lt=1)]
    period_s: Seconds


class ClosedLoop(Spec):
    """`users` people who think, send a request, wait for the whole answer, and think again.

    Without `think_time_s` they send the next request at once: a load test at fixed concurrency. Where there are
    conversations, they think before each conversation, and hold one after another.
    """

    process: Literal["closed_loop"]
    users: Annotated[int, Field(ge=1, le=10**6)]
    think_time_s: DurationDistribution | None = None


OpenArrivals = PoissonArrivals | GammaArrivals | DeterministicArrivals | AllAtOnce | PiecewiseArrivals | DiurnalArrivals
"""Requests that come whether or not earlier ones have been answered."""

Arrivals = Annotated[OpenArrivals | ClosedLoop, Field(discriminator="process")]


class IndependentLengths(Spec):
    """Prompt and output lengths drawn independently of each other."""

    prompt: NumberOrDistribution
    output: NumberOrDistribution


class JointLengths(Spec):
    """Prompt and output lengths drawn together from a shipped shape of a real trace."""

    distribution: Literal["azure-2023-code", "azure-2023-conversation"]


class ShareGptLengths(Spec):
    """Prompt and output lengths drawn together from the first exchanges in a public ShareGPT file, JSON or .gz.

    The file holds text: tokens are estimated as ceil(characters / characters_per_token), no tokenizer counts them.
    """

    distribution: Literal["sharegpt"]
    path: str
    characters_per_token: Annotated[float, Field(ge=0.1, le=100)] = 4.0


def _lengths_kind(value: Any) -> str:
    """One distribution of both or one of each; a distribution of one length, where two belong, lacks its prompt."""
    if isinstance(value, dict):
        kind = value.get("distribution")
        both = "distribution" in value and kind not in ("fixed", "uniform", "geometric", "lognormal")
    else:
        both = isinstance(value, JointLengths | ShareGptLengths)
    return "of both" if both else "of each"


Lengths = Annotated[
    Annotated[IndependentLengths, Tag("of each")]
    | Annotated[JointLengths | ShareGptLengths, Field(discriminator="distribution"), Tag("of both")],
    Discriminator(_lengths_kind),
]


class TraceSpec(Spec):
    """A recorded workload. `time_scale` multiplies the gaps between arrivals: 0.5 is twice the rate.

    `jitter_s` spreads arrivals that were recorded in coarse ticks: each gets an independent uniform delay from 0 to
    that many seconds of the recording, before `time_scale`.
    """

    path: str
    format: Literal["azure", "bailian", "burstgpt", "csv", "jsonl", "mooncake", "real_run"]
    time_scale: PositiveFloat = 1.0
    jitter_s: SecondsOrZero = 0.0


TENANT_RULE = "text of 1 to 100 printable characters"


def is_tenant(value: object) -> bool:
    """Whether `value` can name a tenant, by TENANT_RULE."""
    return isinstance(value, str) and 1 <= len(value) <= 100 and value.isprintable()


def _check_tenant(name: str) -> str:
    if not is_tenant(name):
        raise ValueError(f"got {name!r}, must be {TENANT_RULE}")
    return name


Tenant = Annotated[str, AfterValidator(_check_tenant)]
Priority = Annotated[int, Field(ge=-(2**53), le=2**53)]
Share = Annotated[float, Field(gt=0, le=1e9)]
"""Relative to the sum of all shares."""


class OutputPredictor(Spec):
    """Predicts each answer's length, for orders that want to know it.

    The prediction is the true length times an independent lognormal error of mean 1 and coefficient of variation
    `error_cv`, rounded, at least 1: unbiased, and perfect at 0.
    """

    error_cv: Annotated[float, Field(ge=0, le=1e3)]


class SharedPrefix(Spec):
    """System prompts: every prompt begins with one of `num_prefixes` texts, and `lengths.prompt` comes on top of it.

    `tokens` is the length of such a text, drawn once for each. The k-th is chosen with a probability proportional to
    1/k^`zipf_exponent`: 0 is uniform, 1 Zipf's law.
    """

    num_prefixes: Annotated[int, Field(ge=1, le=10**6)]
    tokens: NumberOrDistribution
    zipf_exponent: Annotated[float, Field(ge=0, le=10)] = 0.0


class Conversations(Spec):
    """Arrivals are of conversations, of `turns` requests each: a next turn comes once the answer before it is complete.

    Its prompt is all that was said so far, answers included, and then a new message of `lengths.prompt` tokens.
    `think_time_s` is the pause between an answer and the next turn; without it there is none. A conversation ends early
    where its next turn would exceed the longest sequence that the engine takes.
    """

    turns: NumberOrDistribution
    think_time_s: DurationDistribution | None = None


GENERATED_ONLY = (
    "arrivals",
    "lengths",
    "priorities",
    "tenants",
    "shared_prefix",
    "repeat_probability",
    "conversations",
)
"""Keys that a trace leaves nothing to decide for."""


class WorkloadSpec(Spec):
    """Either `trace`, or `arrivals`, `lengths` and `num_requests`.

    `priorities` maps a priority value (lower is served first) to its share of the requests, `tenants` a name to its
    share, both for generated workloads; all turns of a conversation have the same. So are `shared_prefix`,
    `conversations` and `repeat_probability`, with which a request repeats word for word the prompt of an earlier one,
    chosen uniformly among the different prompts so far; its answer is its own. `max_new_tokens` is the limit that every
    request sets on its answer, `output_predictor` says how well answers' lengths are known. `num_requests` counts every
    turn of a conversation, and may end the last one early; of a trace it takes the first ones. A client whose request
    has not been scheduled within `patience_s` leaves; without it nobody does.
    """

    arrivals: Arrivals | None = None
    lengths: Lengths | None = None
    trace: TraceSpec | None = None
    num_requests: Annotated[int, Field(ge=1, le=10**8)] | None = None
    priorities: Annotated[dict[Priority, Share], Field(min_length=1)] | None = None
    tenants: Annotated[dict[Tenant, Share], Field(min_length=1)] | None = None
    shared_prefix: SharedPrefix | None = None
    repeat_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    conversations: Conversations | None = None
    max_new_tokens: Tokens | None = None
    output_predictor: OutputPredictor | None = None
    patience_s: DurationDistribution | None = None

    @model_validator(mode="after")
    def _one_way_to_get_requests(self) -> WorkloadSpec:
        if self.trace is not None:
            extra = [key for key in GENERATED_ONLY if getattr(self, key) is not None]
            if extra:
                raise ValueError(f"trace and {extra[0]} exclude each other; drop one of them")
            return self
        missing = [key for key in ("arrivals", "lengths", "num_requests") if getattr(self, key) is None]
        if missing:
            raise ValueError(f"{missing[0]} is missing; give arrivals, lengths and num_requests, or a trace")
        if self.conversations is not None and self.repeat_probability is not None:
            raise ValueError(
                "conversations and repeat_probability exclude each other, for the prompt of a later turn is its own "
                "conversation's; drop one of them"
            )
        return self

    @model_validator(mode="after")
    def _whoever_waits_for_an_answer_is_patient(self) -> WorkloadSpec:
        if self.patience_s is not None:
            for key, waits in (
                ("conversations", self.conversations is not None),
                ("arrivals.process closed_loop", isinstance(self.arrivals, ClosedLoop)),
            ):
                if waits:
                    raise ValueError(f"patience_s and {key} exclude each other, which waits for answers; drop one")
        return self

    @property
    def shares_text(self) -> bool:
        """Whether generated prompts have something in common that a prefix cache could find."""
        return any(part is not None for part in (self.shared_prefix, self.repeat_probability, self.conversations))

    @property
    def input_files(self) -> tuple[str, ...]:
        """Paths of the files that a run reads."""
        lengths = (self.lengths.path,) if isinstance(self.lengths, ShareGptLengths) else ()
        return lengths if self.trace is None else (self.trace.path,)

    @property
    def offered_rate(self) -> float | None:
        """Requests per second that the arrival process offers.

        None where no one rate is: a flood, a trace, a varying rate, and conversations, whose turns follow the answers.
        """
        return None if self.conversations is not None else getattr(self.arrivals, "rate", None)
