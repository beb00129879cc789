"""The one division every metric needs."""

from __future__ import annotations


def ratio(part: float, whole: float) -> float | None:
    """part / whole: a share, or a rate when `whole` is seconds; None where there is nothing to divide by."""
    return part / whole if whole > 0 else None
