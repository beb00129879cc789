"""The roofline: each operation group takes the longer of its arithmetic and its memory traffic.

    t(group) = max( FLOPs / (peak · efficiency), bytes / (bandwidth · efficiency) )

An iteration runs the groups one after the other, plus host time per iteration and per sequence. Williams, Waterman,
Patterson, "Roofline: an insightful visual performance model", CACM 2009; efficiencies come with the accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.cost import operations
from sim.cost.batch import Batch, Bound, GroupTime, Growth, total_s
from sim.cost.operations import Work
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Roof:
    """What kernels of one kind reach: FLOP and bytes per second."""

    flop_per_s: float
    bytes_per_s: float

    def time(self, group: str, work: Work) -> GroupTime:
        """Seconds `group` takes for `work`, under the resource that sets them."""
        compute_s, memory_s = work.flops / self.flop_per_s, work.bytes / self.bytes_per_s
        by_compute = compute_s > memory_s
        seconds: dict[Bound, Any] = {"compute": compute_s * by_compute, "memory": memory_s * (1 - by_compute)}
        return GroupTime(group, seconds, work.flops, work.bytes)


class RooflineModel:
    """The cost of iterations of `model` on `tp` accelerators.

    Most of an iteration depends on one number alone, its rows or its sequences; those parts are kept by number.
    """

    query_tile_tokens = 1

    def __init__(
        self,
        model: ModelSpec,
        accelerator: AcceleratorSpec,
        tp: int,
        host_per_step_s: float,
        host_per_sequence_s: float,
    ) -> None:
        share = accelerator.efficiency
        peak, bandwidth = accelerator.peak_flop_per_s[model.dtype], accelerator.memory_bytes_per_s
        self._model, self._tp = model, tp
        self._gemm = Roof(peak * share.gemm_compute, bandwidth * share.gemm_memory)
        self._attention = Roof(peak * share.attention_compute, bandwidth * share.attention_memory)
        self._link_bytes_per_s = accelerator.link_bytes_per_s / 2 * share.link
        self._link_latency_s = accelerator.link_latency_s
        self._host_per_step_s, self._host_per_sequence_s = host_per_step_s, host_per_sequence_s
        self._rows_s: dict[int, float] = {}
        self._sequences_s: dict[int, float] = {}
        self._logits_s: dict[int, float] = {}
        self._context_token_s: float = total_s((self._decode_attention(Batch(1, 1)),))
        self._pair_s: float = total_s((self._prefill_attention(Batch(prefill_pairs=1)),))
        self._prefill_context_token_s: float = total_s((self._prefill_attention(Batch(prefill_context_tokens=1)),))
        self._prefill_token_s: float = total_s((self._prefill_attention(Batch(prefill_tokens=1)),))
        self._decode_pair_s: float = total_s((self._decode_attention(Batch(draft_pairs=1)),))
        self._kv_token_s = operations.kv_bytes_per_token(model, tp) / self._attention.bytes_per_s

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration."""
        decodes, context_tokens, prefills, prefill_tokens, pairs, prefill_context_tokens, *_ = batch
        rows, sequences = decodes + prefill_tokens, decodes + prefills
        rows_s, sequences_s = self._rows_s.get(rows), self._sequences_s.get(sequences)
        if rows_s is None:
            rows_s = self._rows_s[rows] = total_s(self._by_rows(batch))
        if sequences_s is None:
            sequences_s = self._sequences_s[sequences] = total_s(self._by_sequences(batch, sequences))
        seconds: float = rows_s + sequences_s + self._context_token_s * context_tokens
        if not prefills:
            return seconds
        memory_s = self._prefill_context_token_s * prefill_context_tokens + self._prefill_token_s * prefill_tokens
        return seconds + max(self._pair_s * pairs, memory_s)

    def verify_s(self, batch: Batch, logit_rows: int | None = None) -> float:
        """The same where drafts are verified; a draft model wants logits of fewer rows (`logit_rows`)."""
        decodes, keys, prefills, prefill_tokens, pairs, prefill_keys, *_, drafts, draft_pairs, _ = batch
        sequences = decodes + prefills
        rows, logits = decodes + prefill_tokens + drafts, sequences + drafts if logit_rows is None else logit_rows
        rows_s, logits_s = self._rows_s.get(rows), self._logits_s.get(logits)
        if rows_s is None:
            rows_s = self._rows_s[rows] = total_s(self._by_rows(batch))
        if logits_s is None:
            logits_s = self._logits_s[logits] = total_s((self._lm_head(logits),))
        host_s = self._host_per_step_s + self._host_per_sequence_s * sequences
        decode_s = max(self._decode_pair_s * (keys + draft_pairs), self._kv_token_s * keys)
        memory_s = self._prefill_context_token_s * prefill_keys + self._prefill_token_s * prefill_tokens
        return rows_s + logits_s + host_s + decode_s + max(self._pair_s * pairs, memory_s)

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """Every decode attends to one more token."""
        return Growth(self._context_token_s * decode_requests)

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group and the resource that sets it."""
        return self.explain_pass(batch, batch.logit_rows)

    def explain_pass(self, batch: Batch, logit_rows: Any) -> tuple[GroupTime, ...]:
        """The same where logits are wanted of so many rows."""
        attention = self._prefill_attention(batch), self._decode_attention(batch)
        return *self._by_rows(batch), *attention, *self._by_sequences(batch, logit_rows)

    def _by_rows(self, batch: Batch) -> tuple[GroupTime, ...]:
        """What every token of the batch passes through."""
        model, tp = self._model, self._tp
        return (
            self._gemm.time("QKV and O", operations.attention_projections(model, batch, tp)),
            self._gemm.time("MLP", operations.mlp(model, batch, tp)),
            GroupTime("all-reduce", {"link": self._all_reduce_s(batch)}),
        )

    def _by_sequences(self, batch: Batch, logit_rows: Any) -> tuple[GroupTime, ...]:
        """What is done once a request, and for the rows whose logits are wanted."""
        host_s = self._host_per_step_s + self._host_per_sequence_s * batch.sequences
        return self._lm_head(logit_rows), GroupTime("host", {"host": host_s})

    def _lm_head(self, rows: Any) -> GroupTime:
        return self._gemm.time("LM head", operations.lm_head(self._model, Batch(rows), self._tp))

    def _prefill_attention(self, batch: Batch) -> GroupTime:
        return self._attention.time("attention prefill", operations.attention_prefill(self._model, batch, self._tp))

    def _decode_attention(self, batch: Batch) -> GroupTime:
        """Proportional to the context, for arithmetic and memory alike; drafts add arithmetic only."""
        return self._attention.time("attention decode", operations.attention_decode(self._model, batch, self._tp))

    def _all_reduce_s(self, batch: Batch) -> float:
        """Two all-reduces a layer: a start-up latency each, and the bytes over one direction of the link."""
        if self._tp == 1:
            return 0.0 * batch.tokens
        latency_s = 2 * self._model.num_hidden_layers * self._link_latency_s
        return latency_s + operations.all_reduce_bytes(self._model, batch, self._tp) / self._link_bytes_per_s
