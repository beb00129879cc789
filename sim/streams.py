"""Named, independent random streams from one seed.

A stream is found by its purpose ("arrivals", "prompt_lengths", …) and not by the order of creation, so switching one
feature on never shifts another's draws. That is what makes runs comparable with common random numbers.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The random generator of one purpose under `seed`; with `numbers`, of one among many, as of a request."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])
