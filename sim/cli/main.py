"""The `servesim` command, one file a verb. Errors are one message on standard error; exit 1 a check, 2 bad input."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from sim.errors import ServesimError, printable
from sim.version import __version__

VERBS = (
    "run", "show", "estimate", "catalog", "sweep", "compare", "capacity", "sensitivity", "calibrate", "trace",
    "validate",
)  # fmt: skip
ALLOW_CODE = "--allow-code"


class _CommandsOnDemand(Mapping[str, Any]):
    """Every verb's command, from `VERB_command` (or, for a group, `VERB_app`) in `sim.cli.VERB`.

    A module is imported when its verb is used: pandas and pydantic take most of a second, which `--version` need not
    wait for.
    """

    def __getitem__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise KeyError(verb)
        module = import_module(f"sim.cli.{verb}")
        group: typer.Typer | None = getattr(module, f"{verb}_app", None)
        if group is None:
            group = typer.Typer(add_completion=False)
            group.command(verb)(getattr(module, f"{verb}_command"))
        return typer.main.get_command(group)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class _Verbs(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _CommandsOnDemand()  # type: ignore[assignment]  # read only: nothing adds commands

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """An option that all verbs share may stand behind the verb too."""
        shared = [arg for arg in args if arg == ALLOW_CODE]
        return super().parse_args(ctx, shared + [arg for arg in args if arg != ALLOW_CODE])

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; Ctrl-C that it does not handle ends it with a word, not in silence."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("note: interrupted; files that are there are whole", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="servesim",
    cls=_Verbs,
    help="Simulate LLM inference serving: from one config file to latency percentiles, throughput and pictures.",
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    allow_code: Annotated[
        bool,
        typer.Option(
            ALLOW_CODE, help="Let the experiment file name rules in Python files of yours; after the verb too."
        ),
    ] = False,
) -> None:
    if allow_code:
        from sim.specs import own_code  # pydantic is slow to import

        os.environ[own_code.ALLOW_CODE] = "1"
    if version:
        print(__version__)
        raise typer.Exit


class _Outlet(io.FileIO):
    """Standard output or error, whose reader may leave early (`servesim catalog | head -1`): then we leave as well.

    Leaving here, and not where a broken pipe would be caught, spares us the libraries between, which call it a failure.
    """

    def write(self, data: Any, /) -> int:
        """As in FileIO, but exits as the signal of a broken pipe would."""
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            sys.exit(128 + signal.SIGPIPE)


def _outlet(stream: TextIO) -> TextIO:
    """`stream` as an _Outlet if it is the process's own, with a replacement for characters that it cannot show."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="replace")  # a terminal without Unicode still gets its table
    if stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _end_like_an_interrupt(number: int, frame: FrameType | None) -> None:
    """A polite request to end, such as a scheduler's or `kill`'s: what Ctrl-C keeps is kept, and workers end too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Run the command line; never shows a traceback for something the user can mend."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; matplotlib cannot even be imported under an unknown one
    sys.stdout, sys.stderr = _outlet(sys.stdout), _outlet(sys.stderr)
    signal.signal(signal.SIGTERM, _end_like_an_interrupt)
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except ServesimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # once more, while the first was being dealt with
        sys.exit(130)
    except MemoryError:
        print("error: not enough memory; simulate fewer requests, or use a machine with more", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is not None:
            name = printable(os.fsdecode(error.filename))
            print(f"error: {name}: {error.strerror}; check the path and its permissions", file=sys.stderr)
            sys.exit(2)
        print(f"error: cannot write the output ({error}); free space or send it elsewhere", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
