"""The report of a run in the terminal."""

from __future__ import annotations

import re

import pytest
from rich.console import Console
from small_runs import ONE_TOKEN_EACH, run

from sim.cli.report import GROUPS_SHOWN, print_report

TENANTS = {"workload.tenants": {"search": 3.0, "[chat]": 1.0}}


def printed(summary: dict) -> list[str]:
    console = Console(width=120)
    with console.capture() as capture:
        print_report(console, summary)
    return [line.strip() for line in capture.get().splitlines()]


def fact(summary: dict, label: str) -> str:
    (line,) = [line for line in printed(summary) if line.startswith(f"{label} ")]
    return line


def summary_with(shares: dict[str, float], section: str, key: str) -> dict:
    summary = run().summary
    summary["sim"][section][key] = shares
    return summary


# ---- shares ----------------------------------------------------------------------------------------------------------


def test_what_holds_up_the_queue_is_named_with_the_largest_first():
    line = fact(summary_with({"preemption": 0.02, "kv blocks": 0.4}, "batch", "queue_blocked_by"), "queue")
    assert line.endswith("could not start because of: kv blocks 40%, preemption 2% of busy time")


@pytest.mark.parametrize(("share", "shown"), [(0.0, False), (0.0049, False), (0.0051, True)])
def test_shares_that_round_to_nothing_are_left_out(share, shown):
    line = fact(summary_with({"kv blocks": 0.4, "token budget": share}, "batch", "queue_blocked_by"), "queue")
    assert ("token budget" in line) == shown
    line = fact(summary_with({"memory": 1 - share, "link": share}, "step_time", "share_by_resource"), "step time")
    assert ("limited by the link" in line) == shown


def test_where_nothing_holds_up_the_queue_nothing_is_said_of_it():
    line = fact(summary_with({"token budget": 0.001}, "batch", "queue_blocked_by"), "queue")
    assert "could not start" not in line


# ---- drafts ----------------------------------------------------------------------------------------------------------


def test_what_became_of_drafts_is_told_where_there_were_any():
    acceptance = {"kind": "per_position", "rates": [1.0, 0.0]}
    speculation = {"method": "ngram", "num_speculative_tokens": 2, "acceptance": acceptance}
    summary = run({"engine.speculation": speculation}).summary
    line = fact(summary, "drafts")
    assert line.endswith(
        "2 tokens a round on average; 50.0% of "
        f"{summary['spec_decode_draft_tokens']:,} drafts accepted, by position 100%, 0%"
    )
    assert not any(line.startswith("drafts") for line in printed(run().summary))


# ---- groups ----------------------------------------------------------------------------------------------------------


def test_tenants_have_a_table_after_the_main_one():
    summary = run(TENANTS).summary
    lines = printed(summary)
    start = lines.index("by tenant, in seconds")
    assert start > lines.index(summary["sim"]["name"])
    assert re.split(" {2,}", lines[start + 2]) == [
        "tenant", "requests", "TTFT mean", "TTFT p99", "TPOT mean", "TPOT p99", "E2E mean", "E2E p99",
    ]  # fmt: skip
    chat = summary["sim"]["groups"]["tenant"]["[chat]"]
    name, completed, mean_ttft, *_ = lines[start + 4].split()
    assert (name, int(completed)) == ("[chat]", chat["completed"])
    assert float(mean_ttft) == pytest.approx(chat["mean_ttft"], rel=1e-3)


def test_what_a_tenant_has_nothing_of_is_a_dash():
    lines = printed(run(TENANTS, ONE_TOKEN_EACH).summary)
    assert lines[lines.index("by tenant, in seconds") + 4].split()[4:6] == ["-", "-"]


def test_without_groups_there_is_one_table():
    assert not any(line.startswith("by ") for line in printed(run().summary))


def test_of_many_tenants_the_busiest_are_shown():
    summary = run(TENANTS).summary
    template = summary["sim"]["groups"]["tenant"]["search"]
    summary["sim"]["groups"]["tenant"] = {f"t{count:03}": template | {"completed": count} for count in range(1, 101)}
    lines = printed(summary)
    start = lines.index(f"by tenant, in seconds: the busiest {GROUPS_SHOWN} of 100, all are in summary.json")
    names = [line.split()[0] for line in lines[start + 4 : start + 4 + GROUPS_SHOWN]]
    assert names == [f"t{count:03}" for count in range(101 - GROUPS_SHOWN, 101)]


# ---- KV cache --------------------------------------------------------------------------------------------------------


def test_what_the_prefix_cache_found_is_told_where_it_found_something():
    summary = run({"workload.conversations": {"turns": 3}, "engine.enable_prefix_caching": True}).summary
    share = summary["sim"]["kv_cache"]["hit_fraction"]
    assert fact(summary, "KV cache").endswith(f"; {share:.1%} of prompt tokens found in the prefix cache")
    assert "prefix cache" not in fact(run().summary, "KV cache")


# ---- who was not served ----------------------------------------------------------------------------------------------


def test_lost_requests_are_counted_where_there_are_some():
    impatient = {"workload.patience_s": {"distribution": "fixed", "value": 0.02}, "engine.max_num_seqs": 1}
    crowd = {"workload.arrivals": {"process": "all_at_once"}, "engine.max_concurrent_requests": 45}
    assert fact(run(crowd, impatient).summary, "lost") == (
        "lost       98.3% of requests: 15 refused, 44 left before they started"
    )
    assert not [line for line in printed(run().summary) if line.startswith("lost")]
