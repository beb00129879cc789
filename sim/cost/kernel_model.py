"""The cost of an iteration, kernel by kernel: what an engine that runs one kernel after the other takes.

    step = k (projections + MLPs + experts + attention + elementwise + all-reduces) + LM head + sampler + gaps

over all layers; k is the clock under sustained load. Each term is a file in `kernels`, and what it is called with
comes from `layers`. Rows are padded to the captured CUDA graph. Attention depends on sums over the batch, all else on
its rows or on those of its logits alone; those parts are kept by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sim.cost import layers
from sim.cost.batch import Batch, Bound, GroupTime, Growth, total_s
from sim.cost.kernels.attention import MixedAttention, decode_attention
from sim.cost.kernels.communication import all_reduce_among, all_reduce_s
from sim.cost.kernels.elementwise import elementwise
from sim.cost.kernels.gemm import flops, gemm, memory_bytes
from sim.cost.kernels.graph import captured_sizes, padded
from sim.cost.kernels.moe import distinct_experts, expert_flops, experts
from sim.cost.kernels.parts import Parts
from sim.cost.kernels.sampler import sampler_s
from sim.cost.layers import Matrices
from sim.cost.speeds import attention_speed, computes_in, expert_speed, gemm_speed
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.cost import KernelsCost
from sim.specs.model import ModelSpec

AT_ONCE = 128
"""Numbers of rows that are worked out together."""


class KernelModel:
    """Iterations of `model` on `tp` accelerators."""

    def __init__(self, model: ModelSpec, accelerator: AcceleratorSpec, tp: int, cost: KernelsCost) -> None:
        self._model, self._accelerator, self._tp, self._cost = model, accelerator, tp, cost
        self._constants = accelerator.kernels
        self._clock = self._constants.clock
        self._graphs = captured_sizes(cost.graph_tokens)
        self._heads = layers.heads(model, tp)
        self._attention = attention_speed(model.dtype, accelerator)
        if model.latent_attention is not None:  # whose decodes have a kernel of their own
            self._attention = self._attention._replace(packs_decode_rows=True)
        self.query_tile_tokens = self._attention.query_tile_tokens
        windowed = model.windowed_layers
        self._windowed_layers = windowed.num_layers if windowed else 0
        self._window_tokens = windowed.window_tokens if windowed else 0
        self._full_layers = model.num_hidden_layers - self._windowed_layers
        self._mixed = MixedAttention(self._heads, self._attention)
        self._rows_s: dict[int, float] = {}
        self._logits_s: dict[int, float] = {}
        key_s: float = decode_attention(self._heads, 1, 1, self._attention).overlapped_s
        self._decode_start_s = self._clock * model.num_hidden_layers * self._attention.decode_start_s
        self._decode_row_s = self._clock * model.num_hidden_layers * self._attention.decode_row_s
        self._full_key_s = self._clock * self._full_layers * key_s
        self._windowed_key_s = self._clock * self._windowed_layers * key_s

    # ---- answers ----------------------------------------------------------------------------------------------------

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration."""
        decodes, keys, prefills, prefill_tokens, _, prefill_keys, tiles, tile_keys, longest, _, _, _, _ = batch
        rows, sequences = decodes + prefill_tokens, decodes + prefills
        rows_s, sequences_s = self._rows_s.get(rows), self._logits_s.get(sequences)
        if rows_s is None:
            rows_s = _keep(self._rows_s, rows, self._by_rows)
        if sequences_s is None:
            sequences_s = _keep(self._logits_s, sequences, self._by_logits)
        if prefill_tokens == prefills:
            keys += prefill_keys
            seconds = rows_s + sequences_s + self._decode_start_s + sequences * self._decode_row_s
            if self._windowed_layers:
                seconds += min(keys, sequences * self._window_tokens) * self._windowed_key_s
            return seconds + keys * self._full_key_s
        attention_s = self._full_layers * self._mixed.seconds(tiles, tile_keys, decodes, keys, longest)
        if self._windowed_layers:
            attention_s += self._windowed_layers * self._mixed.seconds(*self._within_window(batch))
        return rows_s + sequences_s + self._clock * attention_s

    def verify_s(self, batch: Batch, logit_rows: int | None = None) -> float:
        """The same where drafts are verified; a draft model wants logits of fewer rows (`logit_rows`)."""
        rows, logits = batch.tokens, batch.logit_rows if logit_rows is None else logit_rows
        rows_s, logits_s = self._rows_s.get(rows), self._logits_s.get(logits)
        if rows_s is None:
            rows_s = _keep(self._rows_s, rows, self._by_rows)
        if logits_s is None:
            logits_s = _keep(self._logits_s, logits, self._by_logits)
        if batch.prefill_tokens == batch.prefill_requests:
            attention = self._decoding(batch, batch.decode_context_tokens + batch.prefill_context_tokens)
        else:
            attention = self._with_prompts(batch)
        return rows_s + logits_s + self._clock * float(sum(count * parts.seconds for count, parts in attention))

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """Every decode attends to one more token, in windowed layers until all windows are full."""
        full_s = decode_requests * self._full_key_s
        room = batch.decode_requests * self._window_tokens - batch.decode_context_tokens
        if not decode_requests or room <= 0:
            return Growth(full_s)
        return Growth(full_s + decode_requests * self._windowed_key_s, room // decode_requests + 1)

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group and the resource that sets it."""
        return self.explain_pass(batch, batch.logit_rows)

    def explain_pass(self, batch: Batch, logit_rows: Any) -> tuple[GroupTime, ...]:
        """The same where logits are wanted of so many rows."""
        return *self._by_rows(batch.tokens), *self._by_context(batch), *self._by_logits(logit_rows)

    # ---- what every row passes through ------------------------------------------------------------------------------

    def _by_rows(self, tokens: Any) -> Iterator[GroupTime]:
        model, tp, rows = self._model, self._tp, padded(tokens, self._graphs)
        yield self._matrices("QKV and O", rows, [layers.projections(model, tp)])
        yield self._matrices("MLP", rows, [layers.mlp(model, tp), layers.shared_experts(model, tp)])
        yield self._experts(rows)
        yield self._elementwise(rows)
        yield GroupTime("all-reduce", {"link": self._clock * self._all_reduces_s(rows)})
        gaps_s = layers.kernels(model, tp) * self._constants.gap_s
        yield GroupTime("between kernels", {"launch": gaps_s + 0.0 * rows})

    def _matrices(self, group: str, rows: Any, several: Iterable[Matrices]) -> GroupTime:
        """One kernel a matrix and layer."""
        timed, arithmetic, traffic = [], 0.0, 0.0
        for matrices in several:
            dtype = computes_in(self._model, matrices.part, self._accelerator)
            speed = gemm_speed(dtype, self._accelerator)
            activation = self._model.dtype_bytes if dtype == self._model.dtype else 1
            for matrix in matrices.matrices:
                timed.append((matrices.layers, gemm(matrix, rows, activation, speed)))
                arithmetic += matrices.layers * flops(matrix, rows)
                traffic += matrices.layers * memory_bytes(matrix, rows, activation)
        return _group(group, timed, self._clock, arithmetic, traffic)

    def _experts(self, rows: Any) -> GroupTime:
        """Router and routed experts, of the layers that have them."""
        model, routed = self._model, layers.routed_experts(self._model, self._tp)
        if model.experts is None or routed is None:
            return _group("experts", [(0, Parts(0.0 * rows, 0.0))], self._clock)
        moe_layers = model.experts.num_moe_layers
        router = self._matrices("experts", rows, [layers.routers(model)])
        speed = expert_speed(computes_in(model, "expert", self._accelerator), self._accelerator)
        parts = experts(routed, rows, speed, self._cost.expert_imbalance)
        traffic = distinct_experts(routed, rows) * routed.parameters * routed.weight_bytes
        found = _group(
            "experts", [(moe_layers, parts)], self._clock, moe_layers * expert_flops(routed, rows), moe_layers * traffic
        )
        seconds: dict[Bound, Any] = {bound: found.seconds[bound] + router.seconds[bound] for bound in found.seconds}
        return GroupTime("experts", seconds, found.flops + router.flops, found.memory_bytes + router.memory_bytes)

    def _elementwise(self, rows: Any) -> GroupTime:
        """Started once a layer."""
        constants, model = self._constants, self._model
        bytes_per_s = self._accelerator.memory_bytes_per_s * constants.elementwise_memory
        elements = layers.elements_per_row(model, self._tp)
        start_s = model.num_hidden_layers * constants.elementwise_start_s
        parts = elementwise(rows, elements, model.dtype_bytes, bytes_per_s, start_s)
        return _group("elementwise", [(1, parts)], self._clock, 0.0, rows * elements * model.dtype_bytes)

    def _all_reduces_s(self, rows: Any) -> Any:
        if self._tp == 1:
            return 0.0 * rows
        message_bytes = rows * self._model.hidden_size * self._model.dtype_bytes
        kernel = all_reduce_among(self._tp, self._accelerator)
        return 2 * self._model.num_hidden_layers * all_reduce_s(message_bytes, kernel)

    # ---- attention --------------------------------------------------------------------------------------------------

    def _by_context(self, batch: Batch) -> Iterator[GroupTime]:
        only_decodes = batch.prefill_tokens == batch.prefill_requests
        heads = self._heads
        keys = batch.decode_context_tokens + batch.prefill_context_tokens * only_decodes
        seen = self._over_layers(batch.decode_context_tokens, batch.decode_requests)
        read = seen + self._over_layers(batch.prefill_context_tokens, batch.prefill_requests)
        paired = self._over_layers(batch.prefill_pairs, batch.prefill_tokens)
        by_decodes = seen + self._over_layers(batch.draft_pairs, batch.draft_tokens)
        arithmetic = heads.query_heads * heads.flops_per_pair * paired + heads.decode_flops_per_key * by_decodes
        decoding = _group("attention decode", self._decoding(batch, keys), self._clock)
        mixed = _group("attention with prompts", self._with_prompts(batch), self._clock)
        yield _only(decoding, only_decodes, arithmetic, heads.key_bytes * read)
        yield _only(mixed, 1 - only_decodes, arithmetic, heads.key_bytes * read)

    def _over_layers(self, keys: Any, rows: Any) -> Any:
        """Keys of all layers, of `rows` that see so many in a full one and no more than their window in the others."""
        return self._full_layers * keys + self._windowed_layers * _less(keys, rows * self._window_tokens)

    def _decoding(self, batch: Batch, keys: Any) -> Iterator[tuple[int, Parts]]:
        """(layers, attention of one) of a batch that only decodes."""
        rows, draft_pairs = batch.sequences, batch.draft_pairs
        yield self._full_layers, decode_attention(self._heads, rows, keys, self._attention, draft_pairs)
        if self._windowed_layers:
            seen, draft_pairs = _less(keys, rows * self._window_tokens), self._drafts_within_window(batch)
            yield self._windowed_layers, decode_attention(self._heads, rows, seen, self._attention, draft_pairs)

    def _with_prompts(self, batch: Batch) -> Iterator[tuple[int, Parts]]:
        """(layers, attention of one) of a batch with prompts."""
        whole = batch.prefill_tiles, batch.prefill_tile_keys, batch.decode_requests, batch.decode_context_tokens
        yield self._full_layers, self._mixed.parts(*whole, batch.longest_context_tokens, batch.draft_pairs)
        if self._windowed_layers:
            draft_pairs = self._drafts_within_window(batch)
            yield self._windowed_layers, self._mixed.parts(*self._within_window(batch), draft_pairs)

    def _drafts_within_window(self, batch: Batch) -> Any:
        """Keys that drafts see in a windowed layer."""
        return _less(batch.draft_pairs, batch.draft_tokens * self._window_tokens)

    def _within_window(self, batch: Batch) -> tuple[Any, Any, Any, Any, Any]:
        """Tiles, their keys, decodes, their keys and the longest row, as a windowed layer sees them."""
        tiles, decodes, window, tile = (
            batch.prefill_tiles,
            batch.decode_requests,
            self._window_tokens,
            self.query_tile_tokens,
        )
        tile_keys = _less(batch.prefill_tile_keys, tiles * (window + tile / 2))
        keys, longest = _less(batch.decode_context_tokens, decodes * window), batch.longest_context_tokens
        return tiles, tile_keys, decodes, keys, _less(longest, window + tile)

    # ---- what is done for the next tokens ---------------------------------------------------------------------------

    def _by_logits(self, rows: Any) -> Iterator[GroupTime]:
        constants = self._constants
        head, activation = layers.lm_head(self._model, self._tp), self._model.dtype_bytes
        parts = gemm(head, rows, activation, gemm_speed(self._model.dtype, self._accelerator))
        yield _group("LM head", [(1, parts)], 1.0, flops(head, rows), memory_bytes(head, rows, activation))
        seconds = sampler_s(rows, constants.sampler_start_s, constants.sampler_row_s)
        yield GroupTime("sampler", {"launch": seconds})


def _keep(kept: dict[int, float], number: int, groups: Callable[[Any], Iterable[GroupTime]]) -> float:
    """Seconds of `groups` at that number and its neighbours, worked out together and kept."""
    first = number - number % AT_ONCE
    numbers = np.arange(first, first + AT_ONCE)
    kept.update(zip(numbers.tolist(), total_s(tuple(groups(numbers))).tolist(), strict=True))
    return kept[number]


def _group(
    group: str, kernels: Iterable[tuple[int, Parts]], clock: float, arithmetic: Any = 0.0, traffic: Any = 0.0
) -> GroupTime:
    """So many calls of each kernel: its time beside starting it goes to what would take longer alone."""
    compute_s, memory_s, launch_s = 0.0, 0.0, 0.0
    for count, parts in kernels:
        by_compute = parts.compute_s > parts.memory_s
        compute_s = compute_s + count * parts.overlapped_s * by_compute
        memory_s = memory_s + count * parts.overlapped_s * (1 - by_compute)
        launch_s = launch_s + count * parts.launch_s
    seconds: dict[Bound, Any] = {"compute": clock * compute_s, "memory": clock * memory_s, "launch": clock * launch_s}
    return GroupTime(group, seconds, arithmetic, traffic)


def _only(time: GroupTime, where: Any, arithmetic: Any, traffic: Any) -> GroupTime:
    """The group where it runs (1), nothing elsewhere (0)."""
    seconds: dict[Bound, Any] = {bound: each * where for bound, each in time.seconds.items()}
    return GroupTime(time.group, seconds, arithmetic * where, traffic * where)


def _less(one: Any, other: Any) -> Any:
    """The smaller of two numbers, or element by element of two arrays."""
    return one + (other - one) * (other < one)
