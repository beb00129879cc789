"""Processes that run experiments side by side, and a bar that shows how many runs are finished."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sim.cli.options import stderr
from sim.errors import ServesimError


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; an error, such as Ctrl-C, ends them at once."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool:
        raise ServesimError("a worker process died, perhaps for lack of memory; try --workers 1") from None
    except BaseException:
        end_workers()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def end_workers() -> None:
    """Whatever they are doing."""
    for process in multiprocessing.active_children():
        process.terminate()


@contextmanager
def runs_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar, which is told the number of finished runs and of all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task("simulating", total=None)
        yield lambda finished, planned: progress.update(task, completed=finished, total=planned)
