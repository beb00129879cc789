"""Processes that run experiments side by side, and a bar that shows how many runs are finished."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sim.cli.options import note, stderr
from sim.errors import ServesimError

DROPPED_AFTER_S = 0.1
"""By then a pool that is shut down has dropped the work that waits."""


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; an error, such as Ctrl-C, ends them at once."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool:
        raise ServesimError("a worker process died, perhaps for lack of memory; try --workers 1") from None
    except BaseException:
        end_workers(pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def end_workers(pool: ProcessPoolExecutor) -> None:
    """Whatever they are doing. The pool drops what waits first: it cannot fail work that was cancelled already."""
    processes = multiprocessing.active_children()

    def terminate() -> None:
        for process in processes:
            process.terminate()

    threading.Timer(DROPPED_AFTER_S, terminate).start()
    pool.shutdown(cancel_futures=True)


class Study(Protocol):
    """What can be ended early and then holds what was finished."""

    @property
    def interrupted(self) -> bool:
        """Whether it was."""
        ...


StudyT = TypeVar("StudyT", bound=Study)


def in_workers(workers: int, study: Callable[[Executor, Callable[[int, int], None]], StudyT], least: str) -> StudyT:
    """A study in a process pool; Ctrl-C ends the workers, and what was finished is kept if that is the `least`."""
    with worker_pool(workers) as pool, runs_bar() as show:
        try:
            found = study(pool, show)
        except KeyboardInterrupt:
            note(f"interrupted before {least} finished; nothing is kept")
            raise typer.Exit(130) from None
        if found.interrupted:
            end_workers(pool)
        return found


@contextmanager
def runs_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar, which is told the number of finished runs and of all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task("simulating", total=None)
        yield lambda finished, planned: progress.update(task, completed=finished, total=planned)
