"""What every cost model must keep to."""

from functools import cache

import numpy as np
import pytest
from batches import batch_of
from hypothesis import given
from hypothesis import strategies as st
from small_runs import experiment

from sim.cost import cost_model
from sim.cost.batch import Batch, total_s

BATCHES = [
    batch_of(decodes=1, context_tokens=10),
    batch_of((100, 0)),
    batch_of((100, 50), (1, 0), decodes=5, context_tokens=500, service_s=0.25),
]
COSTS = {
    "kernels": {"kind": "kernels"},
    "kernels on two GPUs": {"kind": "kernels"},
    "kernels, windowed experts": {"kind": "kernels"},
    "kernels, latent attention": {"kind": "kernels"},
    "roofline": {"kind": "roofline"},
    "roofline on two GPUs": {"kind": "roofline"},
    "constant": {"kind": "constant", "step_s": 0.02},
    "affine": {
        "kind": "affine",
        "per_step_s": 0.01,
        "per_sequence_s": 1e-3,
        "per_prefill_token_s": 1e-5,
        "per_decode_token_s": 1e-4,
    },
    "per_request": {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.1}},
}
MACHINES = {
    "kernels, windowed experts": {"model": "gpt-oss-20b", "accelerator": "h100-sxm"},
    "kernels, latent attention": {"model": "deepseek-v2-lite", "accelerator": "rtx-pro-6000"},
}


@cache
def experiment_for(name):
    changes = {"cost": COSTS[name], "engine.max_num_seqs": 1, "engine.tensor_parallel_size": 2 if "two" in name else 1}
    return experiment(changes | MACHINES.get(name, {}))


def model_for(name):
    return cost_model(experiment_for(name))


@pytest.fixture(params=COSTS)
def model(request):
    return model_for(request.param)


@st.composite
def batches(draw):
    """Decodes, prompt chunks or both."""
    decodes = draw(st.integers(0, 300))
    chunks = draw(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), min_size=not decodes, max_size=4))
    context_tokens = decodes * draw(st.integers(1, 9000))
    return batch_of(*chunks, decodes=decodes, context_tokens=context_tokens, service_s=draw(st.floats(0, 1)))


def test_groups_are_the_same_for_every_batch_and_never_negative(model):
    groups = [[(time.group, list(time.seconds)) for time in model.explain(batch)] for batch in BATCHES]
    assert groups[0] == groups[1] == groups[2]
    every = [part_s for batch in BATCHES for time in model.explain(batch) for part_s in time.seconds.values()]
    assert min(every) >= 0


def test_the_same_batch_always_takes_the_same_time(model):
    assert [model.explain(batch) for batch in BATCHES] == [model.explain(batch) for batch in BATCHES]
    assert [model.step_s(batch) for batch in BATCHES] == [model.step_s(batch) for batch in BATCHES]


@pytest.mark.parametrize("name", COSTS)
@given(some=st.lists(batches(), min_size=1, max_size=5))
def test_an_iteration_takes_the_sum_of_its_groups(name, some):
    """Also after others, whose parts may have been kept."""
    model = model_for(name)
    for batch in some:
        assert model.step_s(batch) == pytest.approx(total_s(model.explain(batch)), rel=1e-12)


@pytest.mark.parametrize("name", COSTS)
@given(decodes=st.integers(1, 500), context=st.integers(1, 9000))
def test_the_increment_is_what_decodes_alone_take_longer_than_the_time_before(name, decodes, context):
    model = model_for(name)
    run = [batch_of(decodes=decodes, context_tokens=decodes * (context + i)) for i in (0, 1, 2)]
    seconds = [model.step_s(batch) for batch in run]
    increments_s = [model.growth(batch, decodes).increment_s for batch in run[:2]]
    assert np.diff(seconds) == pytest.approx(increments_s, rel=1e-7, abs=1e-15)


@given(decodes=st.integers(1, 50), context=st.integers(1, 150), some_more=st.integers(0, 49))
def test_windows_fill_and_the_increment_holds_until_then(decodes, context, some_more):
    """Windows of 128 tokens in half the layers: from the end of the growth on, an iteration grows by less."""
    model, first = model_for("kernels, windowed experts"), decodes * context + some_more % decodes
    increment_s, iterations = model.growth(batch_of(decodes=decodes, context_tokens=first), decodes)
    count = min(iterations, 130)
    run = [batch_of(decodes=decodes, context_tokens=first + i * decodes) for i in range(count + 1)]
    seconds = np.array([model.step_s(batch) for batch in run])
    assert np.diff(seconds)[: count - 1] == pytest.approx(increment_s, rel=1e-6)
    assert (iterations > 130) == (first >= 128 * decodes)
    if iterations <= 130:
        assert seconds[-1] - seconds[-2] < increment_s * (1 - 1e-6)


@pytest.mark.parametrize("name", COSTS)
@given(some=st.lists(batches(), min_size=1, max_size=5))
def test_arrays_of_batches_are_explained_one_by_one(name, some):
    model = model_for(name)
    together = model.explain(Batch(*(np.array(column) for column in zip(*some, strict=True))))
    for i, batch in enumerate(some):
        for ours, alone in zip(together, model.explain(batch), strict=True):
            assert ours.group == alone.group
            seconds = {bound: np.broadcast_to(part_s, len(some))[i] for bound, part_s in ours.seconds.items()}
            assert seconds == pytest.approx(alone.seconds)
            work = [np.broadcast_to(part, len(some))[i] for part in (ours.flops, ours.memory_bytes)]
            assert work == pytest.approx([alone.flops, alone.memory_bytes])


def test_constant_affine_and_per_request_by_hand():
    batch = BATCHES[2]
    assert model_for("constant").step_s(batch) == 0.02
    assert model_for("affine").step_s(batch) == pytest.approx(0.01 + 7e-3 + 101e-5 + 5e-4)
    assert model_for("per_request").step_s(batch) == 0.25
