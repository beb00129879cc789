"""The pictures of `servesim estimate`: iterations under the roof, and where the time of decodes goes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sim.cost.batch import Batch, total_s
from sim.estimate.machine import peak_of
from sim.estimate.steps import Steps, prompt_batch
from sim.plots.canvas import save
from sim.plots.machine import Points, Split, roofline_figure, split_figure
from sim.study.files import replacing, writing

PROMPTS = (128, 512, 2048, 8192)
LEAST_CONTEXT, CONTEXTS = 128, 9


def draw_machine(steps: Steps, title: str, folder: Path) -> None:
    """`roofline.png` and `iterations.png`."""
    case = steps.machine.case
    peak_dtype, peak = peak_of(case.model, case.accelerator)
    batches = _doublings(int(steps.machine.largest_batch))
    kinds = {
        "decode, by requests in the batch": _points(steps, batches, [steps.decode_batch(count) for count in batches]),
        "prefill, by tokens of the prompt": _points(steps, PROMPTS, [prompt_batch(steps.cost, n, 0) for n in PROMPTS]),
    }
    half_way = round(case.prompt_tokens + case.output_tokens / 2)
    some = min(32, batches[-1])
    contexts = [LEAST_CONTEXT * 2**power for power in range(CONTEXTS) if _holds(steps, some, LEAST_CONTEXT * 2**power)]
    decodes = [Batch(count, count * half_way) for count in batches]
    splits = [_split(steps, f"decodes in the batch, {half_way:,} tokens each", batches, decodes)]
    if len(contexts) > 1:
        axis = f"tokens of context each, {some} decodes"
        splits.append(_split(steps, axis, contexts, [Batch(some, some * tokens) for tokens in contexts]))
    bandwidth = case.accelerator.memory_bytes_per_s
    figures = {
        "roofline.png": roofline_figure(
            f"{title}: iterations under the {peak_dtype} roof of one GPU", peak, bandwidth, kinds
        ),
        "iterations.png": split_figure(f"{title}: where the time of a decode iteration goes", splits),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            with replacing(folder / name) as path:
                save(figure, path)


def _doublings(most: int) -> list[int]:
    sizes = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*sizes, most]


def _holds(steps: Steps, requests: int, tokens: int) -> bool:
    """Whether the KV cache has room for them, and the model was made for such a context."""
    fits = requests * tokens <= steps.machine.kv_capacity_tokens
    return fits and tokens <= steps.machine.model.max_position_embeddings


def _points(steps: Steps, sizes: Iterable[int], batches: Iterable[Batch]) -> Points:
    explained = [steps.cost.explain(batch) for batch in batches]
    return Points(
        list(sizes),
        [sum(float(time.flops) for time in times) for times in explained],
        [sum(float(time.memory_bytes) for time in times) for times in explained],
        [float(total_s(times)) for times in explained],
    )


def _split(steps: Steps, axis: str, sizes: Iterable[int], batches: Iterable[Batch]) -> Split:
    explained = [steps.cost.explain(batch) for batch in batches]
    names = [time.group for time in explained[0]]
    seconds = {
        name: [float(sum(times[place].seconds.values())) for times in explained] for place, name in enumerate(names)
    }
    return Split(axis, list(sizes), seconds)
