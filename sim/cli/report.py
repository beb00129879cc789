"""The summary of a run as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.cli.format import empty_table, number, percent, seconds
from sim.cli.interval_report import replicated_facts, replicated_table, single_fact
from sim.cli.model_uncertainty_report import model_uncertainty_fact
from sim.cost.batch import RESOURCE_NAMES
from sim.metrics.groups import GROUP_METRICS, GROUP_STATISTICS

GROUPS_SHOWN = 12
ROWS = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E", "queue": "queueing"}
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def print_report(console: Console, summary: dict[str, Any]) -> None:
    """Latency table, also by tenant and priority, throughput, and what explains them."""
    ours = summary["sim"]
    groups = [_group_table(key, found) for key, found in (ours["groups"] or {}).items()]
    facts, several = _facts(summary), "replications" in ours
    table = replicated_table(ours, ROWS) if several else _latency_table(ours["name"], ours["metrics"])
    overall = replicated_facts(summary) if several else []
    console.print(table)  # only now: nothing is printed of a summary that cannot be printed whole
    _print_facts(console, overall)
    if several:
        _print_facts(
            console, [("", f"the rest, and the tables in the folder, are of the first one, seed {ours['seed']}:")]
        )
    for group in groups:
        console.print(group)
    _print_facts(console, facts)


def interruption(summary: dict[str, Any]) -> str | None:
    """What to say of a result that Ctrl-C ended early."""
    ours = summary["sim"]
    if ours["interrupted"]:
        return "interrupted: the results hold the requests that were finished"
    told = ours.get("replications")
    if told and told["interrupted"]:
        return f"interrupted: {told['count']} of {told['planned']} replications are finished and kept"
    draws = ours.get("model_uncertainty")
    if draws and draws["draws"] < draws["planned"]:
        return f"interrupted: {draws['draws']} of {draws['planned']} draws are finished and kept"
    return None


def _print_facts(console: Console, facts: list[tuple[str, str]]) -> None:
    for label, text in facts:
        console.print(f"{label:<11}{text}", highlight=False, markup=False, soft_wrap=True)


def _latency_table(name: str, metrics: dict[str, float | None]) -> Table:
    table = empty_table(name, ["seconds"], COLUMNS)
    for metric, label in ROWS.items():
        table.add_row(label, *(seconds(metrics[f"{column}_{metric}"]) for column in COLUMNS))
    return table


def _group_table(key: str, groups: dict[str, dict[str, Any]]) -> Table:
    """A row for each tenant or priority, of many only the busiest."""
    shown = sorted(groups, key=lambda name: -groups[name]["completed"])[:GROUPS_SHOWN]
    kept = {name: group for name, group in groups.items() if name in shown}
    title = f"by {key}, in seconds"
    if len(groups) > len(kept):
        title += f": the busiest {len(kept)} of {len(groups):,}, all are in summary.json"
    columns = [f"{statistic}_{metric}" for metric in GROUP_METRICS for statistic in GROUP_STATISTICS]
    labels = [f"{ROWS[metric]} {statistic}" for metric in GROUP_METRICS for statistic in GROUP_STATISTICS]
    table = empty_table(title, [key], ["requests", *labels])
    for name, group in kept.items():
        table.add_row(escape(name), f"{group['completed']:,}", *(seconds(group[column]) for column in columns))
    return table


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, one line) of everything worth reading first."""
    ours = summary["sim"]
    facts = [("throughput", _throughput(summary)), ("queue", _queue(ours)), ("engine", _engine(ours))]
    if summary["failed"]:
        facts.insert(1, ("lost", _lost(summary)))
    if ours["closed_loop"]:
        facts.insert(1, ("users", _users(ours["closed_loop"])))
    if ours["utilisation"]["busy_mfu"] is not None:
        facts.append(("hardware", _hardware(ours)))
    if summary.get("spec_decode_num_drafts"):
        facts.append(("drafts", _drafts(summary)))
    facts += [("step time", _step_time(ours)), ("KV cache", _kv_cache(ours["kv_cache"]))]
    if ours["slo"]:
        facts.append(("SLO", _slo(ours["slo"]) + ("; of answered requests" if summary["failed"] else "")))
    if "intervals" in ours and "replications" not in ours:
        facts.append(("intervals", single_fact(ours)))
    if "model_uncertainty" in ours:
        facts.append(("model", model_uncertainty_fact(ours)))
    facts.append(("simulated", _performance(ours["performance"])))
    return facts


def _throughput(summary: dict[str, Any]) -> str:
    return (
        f"{number(summary['request_throughput'])} requests/s, "
        f"{number(summary['output_throughput'])} output tokens/s; "
        f"{summary['completed']} of {summary['num_prompts']} requests in {number(summary['duration'])} s"
    )


def _lost(summary: dict[str, Any]) -> str:
    failed, share = summary["sim"]["failed"], summary["failed"] / summary["num_prompts"]
    return f"{share:.1%} of requests: {failed['refused']:,} refused, {failed['abandoned']:,} left before they started"


def _users(loop: dict[str, Any]) -> str:
    rate, response_s, think_s = loop["requests_per_s"], loop["mean_response_s"], loop["mean_think_s"]
    law = f"{number(rate)}/s x ({seconds(response_s)} s response + {seconds(think_s)} s thinking)"
    return f"{number(loop['mean_present_users'])} of {loop['users']:,} present on average = {law}"


def _queue(ours: dict[str, Any]) -> str:
    stability = ours["stability"]
    blockers = ours["batch"]["queue_blocked_by"]
    held_up = ", ".join(f"{why} {share}" for why, share in _largest_shares(blockers))
    waits = f"; the next request could not start because of: {held_up} of busy time" if held_up else ""
    return f"{stability['verdict'].upper()}: {stability['reason']}{waits}"


def _engine(ours: dict[str, Any]) -> str:
    batch = ours["batch"]
    extras = [f"busy {percent(batch['busy_fraction'])}", f"{number(batch['mean_running'])} running on average"]
    extras.append(f"{batch['peak_running']} at most")
    if batch["idle_slot_fraction"]:
        extras.append(f"{percent(batch['idle_slot_fraction'])} of batch slots idle")
    if batch["padding_fraction"]:
        extras.append(f"{percent(batch['padding_fraction'])} of executed tokens are padding")
    return ", ".join(extras)


def _drafts(summary: dict[str, Any]) -> str:
    by_position = ", ".join(f"{rate:.0%}" for rate in summary["spec_decode_per_position_acceptance_rates"])
    return (
        f"{number(summary['spec_decode_acceptance_length'])} tokens a round on average; "
        f"{summary['spec_decode_acceptance_rate']:.1f}% of {summary['spec_decode_draft_tokens']:,} drafts accepted, "
        f"by position {by_position}"
    )


def _hardware(ours: dict[str, Any]) -> str:
    used, price = ours["utilisation"], ours["cost"]["cost_per_million_tokens"]
    shares = f"MFU {percent(used['busy_mfu'])} and MBU {percent(used['busy_mbu'])} of datasheet peaks while busy"
    return shares if price is None else f"{shares}; a million output tokens cost {number(price)}"


def _step_time(ours: dict[str, Any]) -> str:
    shares = _largest_shares(ours["step_time"]["share_by_resource"])
    return ", ".join(f"{share} {RESOURCE_NAMES[resource]}" for resource, share in shares)


def _largest_shares(shares: dict[str, float]) -> list[tuple[str, str]]:
    """(name, whole per cent), the largest first, without those that round to nothing."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return [(name, f"{share:.0%}") for name, share in ordered if f"{share:.0%}" != "0%"]


def _kv_cache(kv: dict[str, Any]) -> str:
    held = (
        f"{percent(kv['mean_used_fraction'])} of {kv['capacity_tokens']:,} tokens held on average, "
        f"{percent(kv['peak_used_fraction'])} at most"
    )
    waste = (
        f"of what is held {percent(kv['stored_fraction'])} stores tokens, "
        f"{percent(kv['reserved_waste_fraction'])} is reserved for later and "
        f"{percent(kv['internal_waste_fraction'])} is never used"
    )
    found = f"; {percent(kv['hit_fraction'])} of prompt tokens found in the prefix cache" if kv["hit_fraction"] else ""
    lost = f"{kv['preemptions']} preemptions, {kv['recomputed_tokens']:,} tokens recomputed"
    if "swapped_blocks" in kv:
        lost += f", {kv['swapped_blocks']:,} blocks swapped out or in"
    return f"{held}; {waste}; {lost}{found}"


def _slo(slo: dict[str, Any]) -> str:
    parts = [
        f"{name} {seconds(slo['values'][name])} {'<=' if _met(slo, name) else 'exceeds'} {limit:g} s"
        for name, limit in slo["limits"].items()
    ]
    share = slo["good_request_fraction"]
    good = "" if share is None else f"; {share:.1%} of requests within the limits"
    return f"{'met' if slo['met'] else 'MISSED'}: {', '.join(parts)}{good}"


def _met(slo: dict[str, Any], name: str) -> bool:
    value = slo["values"][name]
    return value is None or value <= slo["limits"][name]


def _performance(spent: dict[str, Any]) -> str:
    return (
        f"{spent['engine_iterations']:,} iterations in {spent['cpu_s']:.2f} s of CPU "
        f"({number(spent['requests_per_cpu_s'])} requests per CPU second)"
    )
