"""The glossary has the field's terms (facts of the literature by number), each with the name it has in the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import run

import sim
from sim.specs import catalogue
from sim.specs.metric_names import METRIC_NAMES

PROGRAM = Path(sim.__file__).parent
TEXT = (PROGRAM.parent / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if re.match(r"\| (?!term)", line)
]
FACTS = {
    "S15": ["mean_e2e", "P95", "P99", "max_e2e", "p99_e2e: 0.1", "p99_e2e: 0.05"],
    "S16": ["request_throughput", "total_token_throughput", "busy_fraction", "cost_per_million_tokens"],
    "S17": ["calflops", "ptflops", "thop", "torchstat", "torchsummary", "fvcore"],
    "S40": ["TTFT", "the first one excluded", "latency", "TPS", "server, output tokens of all requests per second"],
    "S42": ["memory_bytes", "peak_flop_per_s", "link inside the chip", "link inside the node", "link between nodes"],
    "S48": ["below 1 s", "slo: {p99_ttft: 1}"],
    "S62": ["continuous batching, in-flight batching", "dynamic batching"],
    "S65": ["temperature", "inside a top-k", "scores of beams", "only greedy decoding is invariant"],
    "S67": ["prompt lookup decoding", "SwiftKV", "ten prompt tokens to an output token"],
    "S68": ["jump-forward decoding", '{"n', 'ame": '],
    "S71": ["streaming", "image", "video", "ttft_s", "e2e_s"],
    "S76": ["client limit", "lesser of what client and server can do", "slow client"],
    "S77": ["a median above its P90 has made a mistake"],
    "S78": ["reached 95 % of the time"],
    "S81": [
        "vLLM", "DeepSpeed-FastGen", "TensorRT-LLM", "TGI", "SGLang", "OpenPPL", "LightLLM", "LMDeploy", "MLC-LLM",
        "intel-extension-for-transformers",
    ],
    "S82": ["LPU", "ASIC", "NVIDIA", "AMD", "Gaudi"],
    "S83": ["benchmark_throughput", "k6", "llm-bench", "highest concurrency a server can take"],
    "S84": ["CLA", "FHE", "GQA", "ITL", "KV", "LPU", "MHA", "MLA", "MPC", "MQA", "PPML", "QPS", "TPOT", "TTFT"],
    "S85": ["online inference", "offline inference"],
    "S86": [
        "TTFT", "TPOT", "IPS", "TPS", "PTS", "PTT", "DTT", "KV-Cache", "KV-Hit", "RPS", "QPS", "CCU", "ITL", "OTL",
        "P50, P95, P99", "GPU-Util", "Memory", "E2E", "TkPS",
    ],
    "S91": ["model size", "precision", "context length", "input length", "OTL", "KV-Cache", "acceleration"],
}  # fmt: skip


@pytest.mark.parametrize(("fact", "words"), FACTS.items(), ids=FACTS)
def test_the_glossary_speaks_of(fact, words):
    assert [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", TEXT)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_has_a_sentence_and_our_name_or_says_that_there_is_none(row):
    _, meaning, here = row
    assert meaning.endswith((".", "`."))
    assert "`" in here or here.startswith(("not simulated", "not yet"))


def names_of_the_program() -> set[str]:
    """Words of the sources, catalogue entries, metrics and all keys of a summary."""
    sources = [path.read_text(encoding="utf-8") for path in PROGRAM.rglob("*.py")]
    words = set(re.findall(r"[\w-]+", " ".join(sources)))
    entries = {name for kind in ("models", "accelerators", "engines") for name in catalogue.names(kind)}
    return words | entries | set(METRIC_NAMES) | set(keys(run().summary))


def keys(value: dict[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        yield key
        if isinstance(inner, dict):
            yield from keys(inner)


def test_every_name_given_for_a_term_exists_in_the_program():
    given = {
        name
        for *_, here in ROWS
        for code in re.findall(r"`([^`]+)`", here)
        for name in re.findall(r"[a-z][\w-]+", code)
    }
    assert given - names_of_the_program() == set()
