"""One request, as the outside world describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What arrives. Immutable; everything that happens to it is kept by the engine and the recorder.

    `output_tokens` is what the model will really say. Schedulers do not look at it: only the core does, to know when
    the model has stopped. `service_s` is the request's whole service time under the `per_request` cost model.
    Lower `priority` values are served earlier.
    """

    request_id: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    service_s: float | None = None
