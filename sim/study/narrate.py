"""What a sweep's picture shows, in two sentences computed from its table."""

from __future__ import annotations

import pandas as pd


def narrate(table: pd.DataFrame, series: str, x: str, slo: dict[str, float]) -> str:
    """Up to which `x` each value of `series` holds, and what each does with slots and memory at the highest `x`.

    "Holds" means that the SLO is met, or without an SLO that the queue is stable.
    """
    criterion = " and ".join(f"{name} <= {limit:g} s" for name, limit in slo.items()) or "a stable queue"
    quantity = x.rpartition(".")[2]
    parts = {str(name): part for name, part in table.groupby(table[series].map(str), sort=False)}
    reach = ", ".join(f"{name} {_reach(part, x, bool(slo))}" for name, part in parts.items())
    use = "; ".join(f"{name} {_use(part, x)}" for name, part in parts.items())
    return f"With {criterion}, the highest {quantity} carried is: {reach}. At {quantity} {table[x].max():g}, {use}."


def _reach(part: pd.DataFrame, x: str, has_slo: bool) -> str:
    """The highest `x` that holds; a queue nobody can judge holds only if an SLO says so."""
    holds = part["verdict"] != "unstable" if has_slo else part["verdict"] == "stable"
    if has_slo:
        holds &= part["slo_met"].astype(bool)
    return f"{part.loc[holds, x].max():g}" if holds.any() else "none of those tried"


def _use(part: pd.DataFrame, x: str) -> str:
    row = part.sort_values(x).iloc[-1]
    facts = [f"runs {row['mean_running']:.0f} requests at a time"]
    if row["idle_slot_fraction"] > 0.01:
        facts.append(f"leaves {row['idle_slot_fraction']:.0%} of its batch slots idle")
    facts.append(f"wastes {row['kv_wasted_fraction']:.0%} of the KV memory it holds")
    return f"{', '.join(facts[:-1])} and {facts[-1]}"
