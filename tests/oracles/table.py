"""The table of what was found: every value of every oracle, what was simulated, by which gate, and the verdict.

    pytest tests/test_queueing_*.py --oracle-table oracles.md

writes it; with `-m ""` the deep tests too. Findings are kept beside it (`oracles.jsonl`), so that runs of parts of the
tests add up; the last finding of a test counts. `python -m oracles.table oracles.jsonl` in `tests/` prints it again.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROGRAM, RECURSION, FORMULA = ORDER = ("program", "recursion", "formula")
"""How a value was found: by runs of the program; by a recursion that gives the program's times request by request, to
1e-9, as another test holds, on many more requests; or computed, as bounds and model sizes are."""


@dataclass(frozen=True)
class Finding:
    """One value of one case as a test found it; `half_width` is that of its interval, where there is one."""

    case: str
    value: str
    expected: Any
    found: Any
    half_width: float | None
    gate: str
    passed: bool
    by: str
    test: str

    @property
    def name(self) -> str:
        """The oracle's name of the value, of which each of several classes has one: `Wq` of `Wq 1`."""
        return self.value.split(" ")[0]


_kept_in: list[Path] = []


def keep_in(path: Path) -> None:
    """From now on findings are added to this file."""
    _kept_in[:] = [path]


def note(case: str, value: str, expected: Any, found: Any, gate: str, passed: bool, **more: Any) -> None:
    """A test has found a value; `more` may say its `half_width` and by what it was simulated."""
    if not _kept_in:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0].split("::")[-1].split("[")[0]
    finding = Finding(
        case, value, expected, found, more.get("half_width"), gate, bool(passed), more.get("by", PROGRAM), test
    )
    with _kept_in[0].open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(finding), default=float) + "\n")


def findings(paths: Iterable[Path]) -> list[Finding]:
    """What was found, the last time where a test ran several times."""
    last = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            finding = Finding(**json.loads(line))
            last[finding.case, finding.value, finding.test] = finding
    return list(last.values())


# ---- as Markdown ----------------------------------------------------------------------------------------------------

HEADER = """\
# Queueing oracles

What a simulation of each case gave, beside the exact value. An interval is a 99 % Student interval of independent
replications without their beginning and end; "recursion" means that the program's times equal a recursion's request by
request to 1e-9, and that the recursion was run on many more requests; "formula", that it is computed. Times in seconds.
"""


def markdown(found: Sequence[Finding], cases: dict[str, Any], listed: dict[str, str], several: dict[str, str]) -> str:
    """`cases` are all there are, by id; `listed` says of `id value` why no test holds it, `several` of a model of
    several engines what stands for them."""
    by_case: dict[str, list[Finding]] = {}
    for finding in found:
        by_case.setdefault(finding.case, []).append(finding)
    lines = [HEADER, _counts(found, cases, by_case), "", "A run is of one engine. In cases of several:", ""]
    lines += [*(f"* {model}: {how}." for model, how in several.items()), ""]
    lines += ["| case | value | exact | simulated | ± | gate | by | verdict |", "|---|---|---|---|---|---|---|---|"]
    for case in cases:
        order = {name: place for place, name in enumerate(cases[case].expected)}
        rows = by_case.get(case, [])
        lines += map(_row, sorted(rows, key=lambda each: (order.get(each.name, 99), ORDER.index(each.by))))
        seen = {each.name for each in rows}
        missing = [name for name in order if name not in seen]
        lines += [f"| {case} | {name} | {_number(cases[case].expected[name])} | | | | | {_why(case, name, listed)} |"
                  for name in missing]  # fmt: skip
    return "\n".join(lines) + "\n"


def _why(case: str, name: str, listed: dict[str, str]) -> str:
    reason = listed.get(f"{case} {name}")
    return f"not held: {reason}" if reason else "not run"


def _counts(found: Sequence[Finding], cases: dict[str, Any], by_case: dict[str, list[Finding]]) -> str:
    verdicts = Counter("agree" if finding.passed else "do not agree" for finding in found)
    held = [case for case in cases if case in by_case]
    by_program = sum(any(each.by == PROGRAM for each in by_case[case]) for case in held)
    return (
        f"{len(held)} of {len(cases)} cases were run, {by_program} of them with values by the program's own intervals; "
        f"{verdicts['agree']} findings agree, {verdicts['do not agree']} do not."
    )


def _row(finding: Finding) -> str:
    half_width = "" if finding.half_width is None else f"{finding.half_width:.2g}"
    verdict = "agrees" if finding.passed else "**DOES NOT AGREE**"
    cells = [finding.case, finding.value, _number(finding.expected), _number(finding.found), half_width]
    return "| " + " | ".join([*cells, finding.gate, finding.by, verdict]) + " |"


def _number(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_number(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(kept: Sequence[Path]) -> str:
    """The table of all findings in these files."""
    from oracles.cases import NOT_EXPRESSIBLE, NOT_MEASURABLE, SEVERAL_ENGINES, all_cases

    return markdown(findings(kept), all_cases(), NOT_EXPRESSIBLE | NOT_MEASURABLE, SEVERAL_ENGINES)


if __name__ == "__main__":
    sys.stdout.write(write([Path(argument) for argument in sys.argv[1:]]))
