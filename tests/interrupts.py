"""Ctrl-C at a chosen instant of the simulated clock."""

from __future__ import annotations

import signal

import pytest

from sim.serving.clock import Clock


def interrupt_at(monkeypatch: pytest.MonkeyPatch, time_s: float) -> None:
    """Every run from now on is interrupted when its clock shows `time_s`."""
    run_to_the_end = Clock.run_to_the_end

    def run_until_interrupted(clock: Clock) -> bool:
        alarm = clock.at(time_s)
        alarm.callbacks.append(lambda _: signal.raise_signal(signal.SIGINT))
        return run_to_the_end(clock)

    monkeypatch.setattr(Clock, "run_to_the_end", run_until_interrupted)
