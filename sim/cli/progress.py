"""How far a long run has come. The bar looks from a thread of its own, so the run does nothing for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.cli.options import stderr

SHORT_S = 1.0
"""Runs over within this time get no bar."""
LOOK_EVERY_S = 0.2


@contextmanager
def progress_bar(answered: Callable[[], int], requests: int) -> Iterator[None]:
    """While the body runs, show on a terminal how many of the `requests` have been `answered`."""
    if not stderr.is_terminal:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(over, answered, requests), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show(over: threading.Event, answered: Callable[[], int], requests: int) -> None:
    if over.wait(SHORT_S):
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("requests answered", total=requests)
        while not over.wait(LOOK_EVERY_S):
            progress.update(task, completed=answered())
