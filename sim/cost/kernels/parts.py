"""The seconds of a kernel, split by what they are spent on."""

from __future__ import annotations

from typing import Any, NamedTuple


class Parts(NamedTuple):
    """`compute_s` and `memory_s` are what arithmetic and memory traffic would take alone, `launch_s` is fixed.

    The two overlap as the root of the sum of their squares (or another `power`): a smooth roofline. Tiles quantise and
    pipelines fill, so that close to the ridge neither hides the other.
    """

    compute_s: Any
    memory_s: Any
    launch_s: Any = 0.0
    power: float = 2.0

    @property
    def overlapped_s(self) -> Any:
        """Arithmetic and memory traffic together: (compute^p + memory^p)^(1/p)."""
        p = self.power
        return (self.compute_s**p + self.memory_s**p) ** (1 / p)

    @property
    def seconds(self) -> Any:
        """The whole kernel."""
        return self.launch_s + self.overlapped_s
