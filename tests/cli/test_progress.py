"""Long runs show on a terminal how far they have come; short ones, and pipes, see nothing of it."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from sim.cli import progress


def shown(monkeypatch: pytest.MonkeyPatch, seconds: float, is_terminal: bool) -> str:
    text = io.StringIO()
    monkeypatch.setattr(progress, "stderr", Console(file=text, force_terminal=is_terminal, width=80))
    monkeypatch.setattr(progress, "SHORT_S", 0.1)
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.02)
    with progress.progress_bar(lambda: 7, requests=10):
        time.sleep(seconds)
    return text.getvalue()


def test_a_long_run_shows_how_many_requests_are_answered(monkeypatch):
    text = shown(monkeypatch, 0.5, is_terminal=True)
    assert "requests answered" in text
    assert "7/10" in text


@pytest.mark.parametrize(("seconds", "is_terminal"), [(0.0, True), (0.3, False)])
def test_a_short_run_and_a_pipe_show_nothing(monkeypatch, seconds, is_terminal):
    assert shown(monkeypatch, seconds, is_terminal) == ""
