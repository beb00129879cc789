"""One experiment: everything a run depends on, validated and complete."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from sim.errors import did_you_mean
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.base import PositiveFloat, Spec
from sim.specs.cost import CostSpec, KernelsCost
from sim.specs.engine import EngineSpec
from sim.specs.memory import MemoryPlan
from sim.specs.metric_names import METRIC_NAMES
from sim.specs.model import ModelSpec
from sim.specs.workload import WorkloadSpec


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(f"got {name!r}, must be 1 to 100 letters, digits, '.', '_' or '-': it names the result folder")
    return name


def _check_slo(slo: dict[str, float]) -> dict[str, float]:
    for name in slo:
        if name not in METRIC_NAMES:
            raise ValueError(f"unknown metric '{name}'; {did_you_mean(name, METRIC_NAMES)}")
    return slo


class Experiment(Spec):
    """A complete description; the same experiment and seed give byte-identical tables.

    `slo` maps metric names (`p99_ttft`) to seconds. `memory` says how the accelerator's memory was divided up, `notes`
    what the defaults had to decide that a reader should know, `read_from` the files that it was read from.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    model: ModelSpec
    accelerator: AcceleratorSpec
    engine: EngineSpec
    cost: CostSpec = Field(default_factory=KernelsCost)
    workload: WorkloadSpec
    slo: Annotated[dict[str, PositiveFloat], AfterValidator(_check_slo)] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = 0
    memory: MemoryPlan
    notes: tuple[str, ...] = ()
    read_from: tuple[str, ...] = ()

    def resolved(self) -> dict[str, object]:
        """The experiment as a config that loads to itself: every value written out."""
        return self.model_dump(exclude={"memory", "notes", "read_from"})

    @property
    def input_files(self) -> tuple[str, ...]:
        """Paths of all files that it depends on: its own, its model's and accelerator's, its rules', its requests'."""
        return (*self.read_from, *self.engine.rule_files, *self.workload.input_files)
