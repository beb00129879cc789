"""servesim: a discrete-event simulator of LLM inference serving.

    import sim
    result = sim.run(sim.load_experiment("configs/chat-on-a100.yaml"))
    result.summary["p99_ttft_ms"], result.requests, result.iterations

Names are loaded on first use, so `import sim` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sim.version import __version__ as __version__

if TYPE_CHECKING:
    from sim.config import experiment_from as experiment_from
    from sim.config import load_experiment as load_experiment
    from sim.errors import InputError as InputError
    from sim.errors import ServesimError as ServesimError
    from sim.specs.experiment import Experiment as Experiment
    from sim.study.capacity import Capacity as Capacity
    from sim.study.capacity import capacity as capacity
    from sim.study.compare import compare as compare
    from sim.study.compared import Compared as Compared
    from sim.study.replicated import Replicated as Replicated
    from sim.study.replicated import replicate as replicate
    from sim.study.run import RunResult as RunResult
    from sim.study.run import run as run
    from sim.study.sensitivity import sensitivity as sensitivity
    from sim.study.sensitivity.result import Sensitivity as Sensitivity

_HOMES = {
    "Capacity": "sim.study.capacity",
    "Compared": "sim.study.compared",
    "Experiment": "sim.specs.experiment",
    "InputError": "sim.errors",
    "Replicated": "sim.study.replicated",
    "RunResult": "sim.study.run",
    "Sensitivity": "sim.study.sensitivity.result",
    "ServesimError": "sim.errors",
    "capacity": "sim.study.capacity",
    "compare": "sim.study.compare",
    "experiment_from": "sim.config",
    "load_experiment": "sim.config",
    "replicate": "sim.study.replicated",
    "run": "sim.study.run",
    "sensitivity": "sim.study.sensitivity",
}

__all__ = [
    "Capacity", "Compared", "Experiment", "InputError", "Replicated", "RunResult", "Sensitivity", "ServesimError",
    "capacity", "compare", "experiment_from", "load_experiment", "replicate", "run", "sensitivity",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sim' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
