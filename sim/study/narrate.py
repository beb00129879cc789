"""What a sweep's picture shows, in two sentences computed from its table."""

from __future__ import annotations

import pandas as pd


def narrate(table: pd.DataFrame, series: str, x: str, slo: dict[str, float]) -> str:
    """Up to which `x` each value of `series` holds, and why the others stop earlier.

    "Holds" means that the SLO is met, or without an SLO that the queue is stable.
    """
    holds = (table["verdict"] != "unstable") & (table["slo_met"].astype(bool) if slo else True)
    reach = {
        name: part.loc[holds[part.index], x].max() for name, part in table.groupby(series, sort=False)
    }
    criterion = " and ".join(f"{name} <= {limit:g} s" for name, limit in slo.items()) or "a stable queue"
    quantity = x.rpartition(".")[2]
    carried = ", ".join(f"{name} {_upto(value)}" for name, value in reach.items())
    reasons = "; ".join(_reason(str(name), part, x) for name, part in table.groupby(series, sort=False))
    return f"With {criterion}, the highest {quantity} each one carries is: {carried}. At {quantity} {table[x].max():g}, {reasons}."


def _upto(value: float) -> str:
    return "none of those tried" if pd.isna(value) else f"{value:g}"


def _reason(name: str, part: pd.DataFrame, x: str) -> str:
    """What this one does with its slots and its memory at the highest load."""
    row = part.loc[part[x].idxmax()]
    facts = [f"runs {row['mean_running']:.0f} requests at a time"]
    if row["idle_slot_fraction"] > 0.01:
        facts.append(f"leaves {row['idle_slot_fraction']:.0%} of its batch slots idle")
    facts.append(f"wastes {row['kv_wasted_fraction']:.0%} of the KV memory it holds")
    return f"{name} {', '.join(facts[:-1])} and {facts[-1]}"
