"""What every cost model must keep to."""

import pytest

from sim.config import experiment_from
from sim.cost import cost_model
from sim.cost.batch import Batch, step_time

BATCHES = [
    Batch(decode_requests=1, decode_context_tokens=10),
    Batch(prefill_chunks=((100, 0),)),
    Batch(decode_requests=5, decode_context_tokens=500, prefill_chunks=((100, 50), (1, 0)), service_s=0.25),
]
COSTS = [
    {"kind": "roofline"},
    {"kind": "constant", "step_s": 0.02},
    {
        "kind": "affine",
        "per_step_s": 0.01,
        "per_sequence_s": 1e-3,
        "per_prefill_token_s": 1e-5,
        "per_decode_token_s": 1e-4,
    },
    {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.1}},
]


def model_for(cost, **accelerator):
    return cost_model(
        experiment_from(
            {
                "model": "llama-3.1-8b",
                "accelerator": "a100-80gb-sxm",
                "engine": {"max_num_seqs": 1},
                "cost": cost,
                "workload": {
                    "arrivals": {"process": "all_at_once"},
                    "lengths": {
                        "prompt": {"distribution": "fixed", "value": 8},
                        "output": {"distribution": "fixed", "value": 2},
                    },
                    "num_requests": 1,
                },
            }
        )
    )


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost["kind"])
def test_groups_are_the_same_for_every_batch_and_never_negative(cost):
    model = model_for(cost)
    groups = [[time.group for time in model.explain(batch)] for batch in BATCHES]
    assert groups[0] == groups[1] == groups[2]
    assert all(time.seconds >= 0 for batch in BATCHES for time in model.explain(batch))


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost["kind"])
def test_the_same_batch_always_takes_the_same_time(cost):
    model = model_for(cost)
    assert [model.explain(batch) for batch in BATCHES] == [model.explain(batch) for batch in BATCHES]


def test_constant_affine_and_per_request_by_hand():
    batch = BATCHES[2]
    assert step_time(model_for(COSTS[1]).explain(batch)) == 0.02
    assert step_time(model_for(COSTS[2]).explain(batch)) == pytest.approx(0.01 + 7e-3 + 101e-5 + 5e-4)
    assert step_time(model_for(COSTS[3]).explain(batch)) == 0.25
