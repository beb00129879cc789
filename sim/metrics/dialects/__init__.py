"""A run in the words of other tools, so that what reads their results reads ours: one file a tool.

Each is a function of the summary and the requests table to that tool's own result, plain values ready for JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from sim.metrics.dialects.aiperf import aiperf
from sim.metrics.dialects.sglang import sglang
from sim.metrics.dialects.vllm import vllm

Dialect = Callable[[dict[str, Any], pd.DataFrame], dict[str, Any]]

DIALECTS: dict[str, Dialect] = {"vllm": vllm, "sglang": sglang, "aiperf": aiperf}
