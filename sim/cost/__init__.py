"""Batch -> seconds. Pure functions of numbers; nothing here knows a clock."""

from __future__ import annotations

from sim.cost.affine import AffineModel
from sim.cost.batch import CostModel
from sim.cost.constant import ConstantModel
from sim.cost.kernel_model import KernelModel
from sim.cost.per_request import PerRequestModel
from sim.cost.roofline import RooflineModel
from sim.cost.speculative import DraftCost, SpeculativeModel
from sim.cost.swapping import SwappingModel
from sim.specs.cost import AffineCost, ConstantCost, KernelsCost, PerRequestCost, RooflineCost
from sim.specs.experiment import Experiment


def cost_model(experiment: Experiment) -> CostModel:
    """The cost model an experiment asks for."""
    model, engine = _cost_of(experiment), experiment.engine
    speculation = engine.speculation
    if engine.preemption_mode == "swap":
        return SwappingModel(model, experiment.memory.kv_bytes_per_block / experiment.accelerator.host_link_bytes_per_s)
    if speculation is None:
        return model
    return SpeculativeModel(model, _cost_of_drafting(experiment), speculation.num_speculative_tokens)


def _cost_of(experiment: Experiment) -> CostModel:
    """What iterations take that verify no drafts, or those that were looked up."""
    match experiment.cost:
        case KernelsCost() as cost:
            tp = experiment.engine.tensor_parallel_size
            return KernelModel(experiment.model, experiment.accelerator, tp, cost)
        case RooflineCost() as cost:
            tp = experiment.engine.tensor_parallel_size
            host = cost.host_per_step_s, cost.host_per_sequence_s
            return RooflineModel(experiment.model, experiment.accelerator, tp, *host)
        case ConstantCost() as cost:
            return ConstantModel(cost.step_s)
        case AffineCost() as cost:
            per_token = cost.per_prefill_token_s, cost.per_decode_token_s
            return AffineModel(cost.per_step_s, cost.per_sequence_s, *per_token)
        case PerRequestCost():
            return PerRequestModel()


def _cost_of_drafting(experiment: Experiment) -> DraftCost | None:
    """What passes of the draft model take: without CUDA graphs, and in the model's host time.

    None where nobody drafts, and where times are given, of which drafting is then a part.
    """
    draft, tp = experiment.engine.draft_model, experiment.engine.tensor_parallel_size
    match experiment.cost:
        case KernelsCost() as cost if draft is not None:
            return KernelModel(draft, experiment.accelerator, tp, cost.model_copy(update={"graph_tokens": 0}))
        case RooflineCost() if draft is not None:
            return RooflineModel(draft, experiment.accelerator, tp, 0.0, 0.0)
        case _:
            return None
