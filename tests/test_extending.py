"""docs/extending.md does what it says: its files, its commands and what they print, its change of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```\n((?:\n| {4}[^\n]*\n)*)", re.MULTILINE | re.DOTALL)
FILES = {title: code for _, title, code, _ in BLOCK.findall(TEXT) if title}
COMMANDS = [(code.splitlines(), shown) for kind, _, code, shown in BLOCK.findall(TEXT) if kind == "sh"]
"""Commands that are run one after the other, and what is shown of their output."""


def in_words(line: str) -> str:
    """Without what only aligns."""
    return " ".join(line.split())


def python(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the `sim` that is there, if any."""
    paths = os.pathsep.join(map(str, (folder, REPOSITORY)))
    command = [sys.executable, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files of the page that belong to an experiment, in a folder."""
    folder = tmp_path_factory.mktemp("extending")
    for name, code in FILES.items():
        if "/" not in name:
            (folder / name).write_text(code, encoding="utf-8")
    return folder


def test_the_page_has_files_and_commands():
    assert {"chat.yaml", "my_order.py", "tgi.py", "tgi.yaml", "shortest_prompt.diff"} <= FILES.keys()
    assert [len(commands) for commands, _ in COMMANDS] == [1, 2]


@pytest.mark.parametrize(("commands", "shown"), COMMANDS, ids=["rule", "preset"])
def test_a_command_prints_what_is_shown(folder, commands, shown):
    """Line by line and in this order; where there is an ellipsis, whatever comes."""
    done = [python(folder, "-m", "sim", *shlex.split(command)[1:]) for command in commands]
    assert [each.returncode for each in done] == [0] * len(done), done[-1].stderr
    printed = [in_words(line) for each in done for line in each.stdout.splitlines()]
    for line in filter(None, map(in_words, shown.splitlines())):
        start, ellipsis, _ = line.partition("…")
        found = next(
            (at for at, one in enumerate(printed) if one == line or (ellipsis and one.startswith(start))), None
        )
        assert found is not None, f"not printed: {line}"
        del printed[: found if line == "…" else found + 1]


def test_a_command_without_allow_code_runs_nothing(folder):
    (commands, _), _ = COMMANDS
    done = python(folder, "-m", "sim", *shlex.split(commands[0].replace(" --allow-code", ""))[1:])
    assert done.returncode == 2
    assert "servesim --allow-code VERB" in done.stderr


# ---- for good --------------------------------------------------------------------------------------------------------


def apply(diff: str, folder: Path) -> None:
    """A change as the page writes it: hunks without line numbers, each of which fits one place."""
    for part in diff.split("--- a/")[1:]:
        header, *hunks = part.split("@@\n")
        path = folder / header.splitlines()[0]
        text = path.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            before, after = ("".join(line[1:] for line in lines if line[0] in kinds) for kinds in (" -", " +"))
            assert text.count(before) == 1, f"{path.name}: not once there:\n{before}"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def changed_project(tmp_path_factory) -> Path:
    """A copy of the project with the page's change for good."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(REPOSITORY / "sim", project / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "tests", project / "tests", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(REPOSITORY / "pyproject.toml", project)
    (project / "sim/scheduling/order/shortest_prompt.py").write_text(FILES["my_order.py"], encoding="utf-8")
    apply(FILES["shortest_prompt.diff"], project)
    name = "tests/scheduling/test_shortest_prompt.py"
    (project / name).write_text(FILES[name], encoding="utf-8")
    return project


def test_the_test_of_the_rule_passes_where_it_is_part_of_the_project(changed_project):
    done = python(
        changed_project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/scheduling/test_shortest_prompt.py"
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_rule_does_the_same_for_good_as_beside_the_experiment(changed_project, folder):
    tables = []
    for place, order in ((folder, "my_order.py:ShortestPromptOrder"), (changed_project, "shortest_prompt")):
        words = ("run", folder / "chat.yaml", "--set", f"engine.order={order}", "--set", "workload.num_requests=200")
        done = python(place, "-m", "sim", "--allow-code", *words, "--no-plots", "--out", place / "run")
        assert done.returncode == 0, done.stderr
        tables.append((place / "run" / "requests.parquet").read_bytes())
    assert tables[0] == tables[1]
