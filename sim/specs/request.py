"""One request, as the outside world describes it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """What arrives. Immutable; everything that happens to it is kept by the engine and the recorder.

    `output_tokens` is what the model will really say. Schedulers do not look at it: only the core does, to know when
    the model has stopped. What a scheduler may see of the answer's length is `max_new_tokens`, where the client sets a
    limit, and `predicted_output_tokens`, where somebody predicts it.

    Lower `priority` values are served earlier. `session_id` is the conversation or the user of a closed loop.
    `shared_text` is what of the prompt other requests may have too: texts and how many of their first tokens, one after
    the other; the rest of the prompt, and the answer, are the request's own text. It is called
    `("request", request_id)`, or `own_text` where it begins with all of an earlier request's own text, as a next turn
    does. `service_s` is the request's whole service time under the `per_request` cost model. `accept` are the drafts
    that turned out right in each of its rounds of a recording, over and over; otherwise they are drawn.
    """

    request_id: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    max_new_tokens: int | None = None
    predicted_output_tokens: int | None = None
    tenant: str | None = None
    session_id: int | None = None
    shared_text: Sequence[tuple[Hashable, int]] = ()
    service_s: float | None = None
    own_text: Hashable = None
    accept: Sequence[int] | None = None
