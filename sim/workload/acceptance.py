"""How many drafts of a round are right, for every round that a request can have.

It is a property of what is said, as lengths are, and drawn as they are: for each request from a stream of its own, so
neither another engine nor other requests change it. A round draws a single number, of which a higher rate or more
drafts accept no fewer; runs that differ in those are compared with common random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.specs.request import Request
from sim.specs.speculation import ConstantAcceptance, PerRequestAcceptance, SpeculationSpec
from sim.streams import stream

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Acceptance:
    """The rule of one run: deterministic in the seed, the request and the round."""

    speculation: SpeculationSpec
    seed: int

    def of(self, request: Request) -> Sequence[int]:
        """Right drafts of the request's first round, its second …, were all of them verified.

        Of fewer drafts no more can be right: take the lesser. There is an entry for every output after the first, more
        than there can be rounds. What a request brings itself (`accept`) starts over at its end.
        """
        rounds = max(request.output_tokens - 1, 1)
        if request.accept is not None:
            times = -(-rounds // len(request.accept))
            return [*request.accept] * times
        random = stream(self.seed, "acceptance", request.request_id)
        survival = self._survival(random)
        accepted: list[int] = np.sum(random.random((rounds, 1)) < survival, axis=1).tolist()
        return accepted

    def _survival(self, random: np.random.Generator) -> FloatArray:
        """P(the first j drafts are right), j from 1, of this request."""
        spec, acceptance = self.speculation, self.speculation.acceptance
        if isinstance(acceptance, PerRequestAcceptance):
            acceptance = ConstantAcceptance(kind="constant", rate=random.beta(*acceptance.beta))
        return spec.found_share * np.array(acceptance.survival(spec.num_speculative_tokens))
