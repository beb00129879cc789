"""`servesim trace`: what a recorded workload is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.format import empty_table, number
from sim.cli.options import JsonOption, note, stdout
from sim.errors import InputError, did_you_mean
from sim.specs.validation import validate
from sim.specs.workload import TraceSpec
from sim.study.files import keep, replacing, writing
from sim.study.store import keep_results, result_folder, to_json
from sim.workload.trace_statistics import trace_statistics
from sim.workload.traces import READERS, guess_format, read_trace
from sim.workload.traces.mooncake import write_mooncake
from sim.workload.traces.reader import Trace

FILES = ("trace.json", "trace.png")
LENGTHS = {"prompt_tokens": "prompt", "output_tokens": "output"}


def trace_command(
    file: Annotated[Path, typer.Argument(help="Trace file, plain or .gz.", show_default=False)],
    format_: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(READERS)}; default: known by its first line.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Result folder; default results/trace-NAME.")] = None,
    save_mooncake: Annotated[
        Path | None, typer.Option("--save-mooncake", help="Also write the trace in Mooncake's format, plain or .gz.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Describe a trace: rate, burstiness, lengths, prefix reuse, and a picture of them."""
    chosen = _format(file, format_)
    trace = read_trace(validate(TraceSpec, {"path": str(file), "format": chosen}))
    statistics = {"file": file.name, "format": chosen, **trace_statistics(trace), "notes": list(trace.notes)}
    folder = out or Path("results") / f"trace-{file.name.partition('.')[0]}"
    _keep(file, folder, save_mooncake)
    with result_folder(folder), writing(folder):
        _save_mooncake(trace, save_mooncake)
        with replacing(folder / "trace.json") as path:
            path.write_text(to_json(statistics) + "\n", encoding="utf-8")
        with replacing(folder / "trace.png") as path:
            _draw(trace, f"{file.name}: {_traffic(statistics)}", path)
    for text in trace.notes:
        note(text)
    if json_:
        print(to_json(statistics))
    else:
        _print(statistics)
    note(f"trace.json and trace.png are in {folder}")


def _format(file: Path, asked: str | None) -> str:
    """The format that was asked for, else the one the file shows."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the path of a trace")
    if asked is not None and asked not in READERS:
        raise InputError(f"--format: got '{asked}'; {did_you_mean(asked, READERS)}")
    return asked or guess_format(file)


def _keep(file: Path, folder: Path, save_mooncake: Path | None) -> None:
    """Refuse to write over the trace that is being read, or two things into one file."""
    for name in FILES:
        keep(folder / name, "--out", [file], "the trace itself")
    if save_mooncake is not None:
        keep(save_mooncake, "--save-mooncake", [file], "the trace itself")
        keep_results(save_mooncake, "--save-mooncake", folder, FILES)


def _save_mooncake(trace: Trace, path: Path | None) -> None:
    if path is None:
        return
    with writing(path, "--save-mooncake"), replacing(path) as beside:
        write_mooncake(trace, beside)
    shared = "" if trace.block_tokens else "; the trace names no prefixes, so no two prompts share one"
    note(f"the trace in Mooncake's format is in {path}{shared}")


def _draw(trace: Trace, title: str, path: Path) -> None:
    from sim import plots  # matplotlib is slow to import and not always wanted

    plots.save(plots.trace_figure(title, trace.table), path)


def _print(statistics: dict[str, Any]) -> None:
    table = empty_table(f"{statistics['file']} ({statistics['format']})", ["tokens"], statistics["prompt_tokens"])
    for key, label in LENGTHS.items():
        table.add_row(label, *(f"{value:,.0f}" for value in statistics[key].values()))
    stdout.print(table)
    for label, text in _facts(statistics):
        stdout.print(f"{label:<12}{text}", highlight=False, markup=False, soft_wrap=True)


def _facts(statistics: dict[str, Any]) -> list[tuple[str, str]]:
    windows = [f"{number(value)} in windows of {name}" for name, value in statistics["dispersion"].items()]
    burstiness = f"gaps: standard deviation over mean {number(statistics['gap_cv'])}; counts: variance over mean "
    facts = [
        ("traffic", _traffic(statistics)),
        ("burstiness", f"{burstiness}{', '.join(windows)}; Poisson has 1 throughout"),
        ("correlation", f"{number(statistics['length_correlation'])} between prompt and output lengths"),
    ]
    reuse = statistics["prefix_reuse"]
    if reuse:
        share = f"{reuse['seen_before_fraction']:.1%} of {reuse['blocks']:,} blocks of {reuse['block_tokens']} tokens"
        facts.append(("prefixes", f"{share} were seen before, as an endless prefix cache would find them"))
    return facts


def _traffic(statistics: dict[str, Any]) -> str:
    rate = statistics["mean_rate"]
    pace = "all at once" if rate is None else f"in {statistics['span_s']:,.0f} s, {number(rate)} requests/s"
    count = statistics["num_requests"]
    return f"{count:,} request{'s' if count > 1 else ''} {pace}"
