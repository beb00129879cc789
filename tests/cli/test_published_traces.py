"""Every published trace at hand is shown, and its head is run."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest
from cli_helpers import servesim_here

from sim.specs.yaml_file import dump_yaml

HEAD = 150
PUBLISHED = {
    "azure_llm_2023_code.csv.gz": "azure",
    "azure_llm_2023_conv.csv.gz": "azure",
    "mooncake_fast25_conversation.jsonl.gz": "mooncake",
    "mooncake_fast25_synthetic.jsonl.gz": "mooncake",
}
COLUMNS = {
    "azure": {"ContextTokens": "prompt_tokens", "GeneratedTokens": "output_tokens"},
    "mooncake": {"input_length": "prompt_tokens", "output_length": "output_tokens"},
}
"""The names of lengths in the files, and ours."""


@pytest.fixture
def here(tmp_path, capsys, monkeypatch):
    """The command, in this process, with the test's folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: servesim_here(capsys, monkeypatch, *words)


def head_of(path):
    """The first lengths, read without the readers under test."""
    with gzip.open(path, "rt") as file:
        rows = pd.read_csv(file) if ".csv" in path.name else pd.DataFrame(map(json.loads, file))
    ours = COLUMNS[PUBLISHED[path.name]]
    return rows.rename(columns=ours)[[*ours.values()]].head(HEAD)


def test_every_trace_at_hand_is_listed(measured_data):
    assert {path.name for path in (measured_data / "traces").iterdir()} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_trace_is_shown(here, measured_data, tmp_path, name):
    output = here("trace", measured_data / "traces" / name, "--out", "shown")
    assert output.code == 0, output.err
    assert f"{name} ({PUBLISHED[name]})" in output.out
    assert "requests/s" in output.out
    assert ("were seen before" in output.out) == (PUBLISHED[name] == "mooncake")
    assert (tmp_path / "shown/trace.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_head_of_a_published_trace_is_run(here, measured_data, tmp_path, name):
    path = measured_data / "traces" / name
    config = {
        "model": "llama-3.1-8b",
        "accelerator": "h100-sxm",
        "workload": {
            "trace": {"path": str(path), "format": PUBLISHED[name], "time_scale": 4.0},
            "num_requests": HEAD,
        },
    }
    (tmp_path / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
    output = here("run", "config.yaml", "--out", "out", "--json", "--no-plots")
    assert output.code == 0, output.err
    summary = json.loads(output.out)
    assert (summary["completed"], summary["sim"]["audit"]["violations"]) == (HEAD, 0)
    served = pd.read_parquet(tmp_path / "out/requests.parquet")
    head = head_of(path)
    for column in head:
        assert served[column].tolist() == head[column].tolist()
    inputs = json.loads((tmp_path / "out/manifest.json").read_text())["inputs"]
    assert list(inputs) == [str(path)]
