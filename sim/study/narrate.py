"""What a sweep's picture shows, in two sentences computed from its table."""

from __future__ import annotations

import pandas as pd


def narrate(table: pd.DataFrame, series: str, rate: str, unit: str, slo: dict[str, float]) -> str:
    """Up to which arrival `rate` each value of `series` holds, and what each does with slots and memory at the highest.

    `unit` is that of the rate. "Holds" means that the SLO is met, or without an SLO that the queue is stable, there and
    at every lower rate tried.
    """
    criterion = " and ".join(f"{name} <= {limit:g} s" for name, limit in slo.items()) or "a stable queue"
    key = "" if series == "engine.preset" else f"{series.rpartition('.')[2]} "
    parts = {f"{key}{name}": part.sort_values(rate) for name, part in table.groupby(table[series].map(str), sort=False)}
    reach = ", ".join(f"{name} {_reach(part, rate, bool(slo))}" for name, part in parts.items())
    use = "; ".join(f"{name} {_use(part)}" for name, part in parts.items())
    return (
        f"With {criterion}, the highest of the rates tried that holds is: {reach}. "
        f"At {table[rate].max():g} {unit}, {use}."
    )


def _reach(part: pd.DataFrame, rate: str, has_slo: bool) -> str:
    """The highest rate up to which all hold; a queue nobody can judge holds only if an SLO says so."""
    holds = part["slo_met"].astype(bool) & (part["verdict"] != "unstable") if has_slo else part["verdict"] == "stable"
    reached = part.loc[holds.cummin(), rate]
    return "none" if reached.empty else f"{reached.iloc[-1]:g}"


def _use(part: pd.DataFrame) -> str:
    row = part.iloc[-1]
    facts = [f"runs {row['mean_running']:.0f} requests at a time"]
    if row["idle_slot_fraction"] > 0.01:
        facts.append(f"leaves {row['idle_slot_fraction']:.0%} of its batch slots idle")
    facts.append(f"wastes {row['kv_wasted_fraction']:.0%} of the KV memory it holds")
    return f"{', '.join(facts[:-1])} and {facts[-1]}"
