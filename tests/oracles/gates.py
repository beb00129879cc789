"""When a simulation agrees with an oracle: the gates of the verification plan, in one place.

The oracle must lie inside the 99 % Student interval of at least ten independent replications, and the interval must be
narrow: 2 % of the value, and 5 % at 90 % load. Of well over a hundred cases one or two miss their interval by chance:
at most four may, each by less than a second half-width, and every such miss is written down here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from oracles.cases import Case
from oracles.intervals import student_interval
from oracles.table import PROGRAM, RECURSION, note

Means = dict[str, float]
"""What one replication measured, under the oracle's names."""

NARROW, NARROW_AT_HEAVY_LOAD = 0.02, 0.05
MISSES: dict[tuple[str, str], str] = {
    ("geometric-continuous-batching-1", "wait_to_first_step"): "test_continuous_batching_…_at_full_length",
    ("M/M/c-3", "Wq"): "test_the_program_has_the_oracle_means",
    ("M/M/c-3", "E2E"): "test_the_program_has_the_oracle_means, in the same runs",
}
"""(case, value): by which test it was found outside its interval by chance; the seeds are fixed, so it always is."""


def load_of(case: Case) -> float:
    """Utilisation of a server whose seats are full, where the case tells."""
    p = case.params
    match p:
        case {"rho": load}:
            return float(load)
        case {"lam": lam, "mu": mu}:
            return float(lam / (mu * p.get("c", 1)))
        case {"lam": lam, "alpha": alpha, "beta": beta, "b": seats}:
            return float(lam * (alpha + beta * seats) / seats)
    return 0.0


def narrow(case: Case) -> float:
    """The relative half-width that an interval may have."""
    return NARROW_AT_HEAVY_LOAD if load_of(case) >= 0.9 else NARROW


def assert_agrees(
    case: Case,
    replications: Sequence[Means],
    allowed: float | None = None,
    rare: Collection[str] = (),
    level: float = 0.99,
    by: str = PROGRAM,
) -> None:
    """Every value of the case was measured, in a narrow interval around the oracle's.

    `rare` are values that differ from a limit by events too rare for an interval: they agree to one in ten thousand.
    `by` says what was simulated.
    """
    assert len(replications) >= 10
    assert set(replications[0]) == set(case.expected), f"{case}: measured {sorted(replications[0])}"
    allowed = narrow(case) if allowed is None else allowed
    for name, expected in case.expected.items():
        interval = student_interval([means[name] for means in replications], level)
        off, width = abs(interval.mean - expected), interval.half_width
        if name in rare:
            passed, gate = off <= 1e-4 * expected, "within 1e-4"
        else:
            missed = (case.id, name) in MISSES
            inside = off <= width * (2 if missed else 1) + 1e-9 * abs(expected)
            passed = inside and interval.relative_half_width <= allowed
            gate = f"{level:.4g} interval, ± {allowed:.0%} at most" + (", a written miss" if missed else "")
        note(case.id, name, expected, interval.mean, gate, passed, half_width=width, by=by)
        assert passed, f"{case} {name}: {expected} against {interval}, by {gate}"


def assert_recursion_agrees(case: Case, replications: Sequence[Means], **more: Any) -> None:
    """The same of a recursion that other tests hold equal to the program."""
    assert_agrees(case, replications, by=RECURSION, **more)


def assert_close(
    case: Case, replications: Sequence[Means], tolerance: float | Mapping[str, float], least: int = 10
) -> None:
    """For limits: every measured mean is within a relative tolerance of the oracle, and known as precisely.

    With fewer than ten replications it need only be within.
    """
    assert len(replications) >= least
    assert set(replications[0]) == set(case.expected), f"{case}: measured {sorted(replications[0])}"
    for name, expected in case.expected.items():
        within = tolerance[name] if isinstance(tolerance, Mapping) else tolerance
        interval = student_interval([means[name] for means in replications])
        known = interval.relative_half_width <= max(narrow(case), within)
        passed = abs(interval.mean - expected) <= within * expected and (known or least < 10)
        gate = f"within {within:.1%} of a limit"
        note(case.id, name, expected, interval.mean, gate, passed, half_width=interval.half_width)
        assert passed, f"{case} {name}: {expected} against {interval}, by {gate}"


def assert_equals(case: Case, found: Mapping[str, Any], rel: float = 1e-9, absolute: float = 0.0, **more: Any) -> None:
    """For what has no chance in it: values found are the oracle's, to a relative or an absolute tolerance."""
    for name, value in found.items():
        expected = case.expected[name]
        passed = _equal(value, expected, rel, absolute)
        gate = f"within {rel:g}" if not absolute else f"within {absolute:g} absolute"
        kept = value.tolist() if isinstance(value, np.ndarray) else value
        note(case.id, name, expected, kept, gate, passed, **more)
        assert passed, f"{case} {name}: {expected} against {value}, {gate}"


def assert_bound(case: Case, name: str, found: float, **more: Any) -> None:
    """What was found is below the oracle's bound."""
    passed = bool(found < case.expected[name])
    note(case.id, name, case.expected[name], found, "an upper bound", passed, **more)
    assert passed, f"{case} {name}: {found} is not below {case.expected[name]}"


def _equal(value: Any, expected: Any, rel: float, absolute: float) -> bool:
    if isinstance(expected, (str, bool)) or expected is None:
        return bool(value == expected)
    return bool(np.allclose(np.asarray(value, float), np.asarray(expected, float), rtol=rel, atol=absolute))
