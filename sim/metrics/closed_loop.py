"""The interactive response time law of a closed loop: N = X(R + Z)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim.workload.workload import Workload


def closed_loop(workload: Workload, requests: pd.DataFrame) -> dict[str, Any] | None:
    """Throughput X, mean response R and mean think time Z from time 0 to the last answer; None for an open loop.

    X(R + Z) is exactly the number of users present on average, which is below `users` because users leave at the end
    of a run, when no request is left to send.
    """
    if workload.users is None or requests.empty:
        return None
    in_order = requests.sort_values("arrival_s", kind="stable")
    answered_before_s = in_order.groupby("session_id")["finish_s"].shift(fill_value=0.0)
    response_s, think_s = float(requests["e2e_s"].mean()), float((in_order["arrival_s"] - answered_before_s).mean())
    throughput = len(requests) / float(requests["finish_s"].max())
    return {
        "users": workload.users,
        "requests_per_s": throughput,
        "mean_response_s": response_s,
        "mean_think_s": think_s,
        "mean_present_users": throughput * (response_s + think_s),
    }
