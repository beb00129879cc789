"""Values that no field of a description expects, and putting one anywhere into a nested mapping."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """The path of everything inside a config."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*here, key)
        yield from places(item, (*here, key))


def replaced(config: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    target: Any = changed
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return changed


UNFIT = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 3, 5, 10**9, 10**10, 10**400, -(10**400), 0.0, 0.5, 1.5, 1e308, float("nan"),
        float("inf"), "", "x", "4", "\ud800", "y" * 10_000, [], [0], [0, 0], [1, 2, 3], [None], ["x"], [[]], {},
        {"x": 1}, {"x": None}, {"weights": 3}, {"quantization": "FP8"}, [{}], {"x": {"weights": {"num_bits": "8"}}},
    ]
)  # fmt: skip
