"""The `engine` section: limits under vLLM's names, and the six axes on which schedulers differ, as values.

A framework is a record of these values (catalogue/engines/*.yaml); there is no class per framework. docs/engine-keys.md
says what each key and each value means.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.errors import InputError
from sim.specs.axes import disagreement
from sim.specs.base import Fraction, PositiveInt, Spec
from sim.specs.model import ModelSpec
from sim.specs.own_code import RuleAxis
from sim.specs.speculation import SpeculationSpec

NOT_YET = {
    "pipeline_parallel_size": (1, "pipeline parallelism"),
    "data_parallel_size": (1, "data parallelism"),
    "enable_expert_parallel": (False, "expert parallelism"),
}
"""vLLM's keys for layouts over several GPUs that are not modelled: the value that asks for none, and what it is."""


VERIFYING = {
    "formation": "continuous",
    "composition": "mixed",
    "running_order": "admission",
    "kv_allocation": "paged",
    "pressure": "block_needed",
    "preemption_mode": "recompute",
    "admission_after_preemption": "nobody",
    "pad_to_longest": False,
    "release": "on_finish",
}
"""Values of the axes among which drafts are verified: those of vLLM V1."""


class EngineSpec(Spec):
    """One engine, every value filled in.

    `max_num_batched_tokens` null means no token budget. Beyond `max_concurrent_requests` in the system, waiting ones
    included, the front end refuses requests (HTTP 429); null lets everybody in. `max_model_len` and `num_gpu_blocks`
    are null only until memory has been divided up (`sim.specs.memory`). `own_rules` are Python files of the user's own
    that take the place of a rule, as FILE.py:NAME by axis.
    """

    preset: str
    preset_version: str
    own_rules: dict[RuleAxis, str] = Field(default_factory=dict)

    # limits
    max_num_seqs: PositiveInt
    max_num_active_seqs: PositiveInt | None = None
    max_concurrent_requests: PositiveInt | None = None
    max_num_batched_tokens: PositiveInt | None
    max_model_len: PositiveInt | None = None
    tokens_past_max_model_len: Annotated[int, Field(ge=0, le=1)] = 0
    block_size: Annotated[int, Field(ge=1, le=65536)]
    num_gpu_blocks: PositiveInt | None = None
    kv_pool_tokens: PositiveInt | None = None
    has_null_block: bool
    gpu_memory_utilization: Fraction
    activations_apart: bool = False
    tensor_parallel_size: PositiveInt = 1

    # admission
    order: Literal["fcfs", "priority", "shortest_predicted"]
    gate: Literal["whole_prompt", "first_chunk", "slot", "expected_outputs", "future_peak"]
    watermark: Annotated[float, Field(ge=0, lt=1)]
    watermark_when_idle: bool
    schedule_conservativeness: Annotated[float, Field(ge=0)] = 1.0
    router_token_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    router_max_new_token_len: PositiveInt = 1024
    router_max_wait_tokens: Annotated[int, Field(ge=0)] = 6
    disable_aggressive_schedule: bool = False
    formation: Literal["continuous", "drain_then_fill"]
    formation_timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=True)]
    prefill_schedule_interval: PositiveInt

    # composition
    composition: Literal["mixed", "prefill_first", "prefill_until_full", "decodes_first", "alternate", "rounds"]
    enable_chunked_prefill: bool
    long_prefill_token_threshold: Annotated[int, Field(ge=0)]
    long_prefill_token_threshold_adaptive: bool

    enable_mixed_chunk: bool = False
    max_prefill_tokens: PositiveInt | None = None
    running_order: Literal["admission", "as_run"]

    # KV reservation
    kv_allocation: Literal["paged", "paged_prompt", "reserved"]
    enable_prefix_caching: bool

    # pressure
    pressure: Literal[
        "block_needed", "no_free_block", "no_free_block_for_decode", "decodes_do_not_fit", "nothing_can_run"
    ]
    preemption_mode: Literal["recompute", "swap"]
    requeue: Literal["head", "tail"] = "head"
    num_cpu_blocks: Annotated[int, Field(ge=0)] | None = None
    swap_space_gib: Annotated[float, Field(ge=0, le=1e6)] = 4.0
    admission_after_preemption: Literal["nobody", "others", "as_they_were"]

    # executed shape and release of members
    pad_to_longest: bool
    release: Literal["on_finish", "next_call", "batch_end"]

    # pipeline
    async_scheduling: bool

    # drafts
    speculation: SpeculationSpec | None = None

    @model_validator(mode="after")
    def _axes_agree(self) -> EngineSpec:
        if wrong := disagreement(self):
            raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _drafts_can_run(self) -> EngineSpec:
        """What vLLM 0.33.0 verifies drafts with; it would stop, or wait without end, where a round is not given whole.

        A request that starts with one token is given a whole round, or not started
        (vllm/v1/core/sched/scheduler.py, `pad_spec_decode`).
        """
        if self.speculation is None:
            return self
        for axis, value in VERIFYING.items():
            if getattr(self, axis) != value:
                raise ValueError(
                    f"speculation is modelled for {axis} {value}, as in preset vllm-v1, not for {getattr(self, axis)}; "
                    "set speculation to null or change the preset"
                )
        whole = 1 + self.speculation.num_speculative_tokens
        budget, slots = self.max_num_batched_tokens, self.speculation.draft_slots
        if budget is not None and budget < whole + slots:
            raise ValueError(
                f"max_num_batched_tokens {budget} is below the {whole + slots} tokens of a round with "
                f"num_speculative_tokens {whole - 1}; raise it or lower num_speculative_tokens"
            )
        if 0 < self.long_prefill_token_threshold < whole:
            raise ValueError(
                f"long_prefill_token_threshold {self.long_prefill_token_threshold} would cut the {whole} tokens of a "
                f"round with num_speculative_tokens {whole - 1}; set it to 0 or at least {whole}"
            )
        return self

    @property
    def num_speculative_tokens(self) -> int:
        """Drafts that a request verifies in an iteration; 0 without speculation."""
        return self.speculation.num_speculative_tokens if self.speculation else 0

    @property
    def draft_model(self) -> ModelSpec | None:
        """The model that writes drafts, if one does."""
        return self.speculation.model if self.speculation else None

    @property
    def num_lookahead_tokens(self) -> int:
        """KV slots kept for a draft model beyond the tokens of an iteration."""
        return self.speculation.num_lookahead_tokens if self.speculation else 0

    @property
    def draft_slots(self) -> int:
        """Tokens of the budget that each request of an iteration takes besides its own."""
        return self.speculation.draft_slots if self.speculation else 0

    @property
    def decodes_ride_along(self) -> bool:
        """Whether SGLang lets decodes join its prompts, which it does only while it cuts prompts into chunks."""
        return self.enable_mixed_chunk and self.enable_chunked_prefill

    @property
    def rule_files(self) -> tuple[str, ...]:
        """Paths of the Python files that rules of the user's own are in."""
        return tuple(dict.fromkeys(reference.rpartition(":")[0] for reference in self.own_rules.values()))

    @property
    def resolved_max_model_len(self) -> int:
        """The longest sequence in tokens, once memory has been divided up."""
        if self.max_model_len is None:
            raise InputError("engine.max_model_len: is null, must be a number here; give it or derive it from memory")
        return self.max_model_len

    @property
    def usable_blocks(self) -> int:
        """KV blocks requests can hold: all but the null block of engines that keep one."""
        if self.num_gpu_blocks is None:
            raise InputError("engine.num_gpu_blocks: is null, must be a number here; give it or derive it from memory")
        return self.num_gpu_blocks - self.has_null_block

    @property
    def slot_blocks(self) -> int:
        """Blocks of a slot that holds `max_model_len` tokens."""
        return self.blocks_for(self.resolved_max_model_len)

    @property
    def longest_sequence_tokens(self) -> int:
        """Prompt plus output that one request may have: the model length, or all KV memory where that is less.

        Of the memory a watermark that even an idle engine keeps is left out, or the block that must be free for
        whoever goes on; one that coming back from the host asks for; what a draft model writes ahead; and what gates
        that look ahead want to be left.
        """
        kept = int(self.watermark * (self.num_gpu_blocks or 0)) if self.watermark_when_idle else 0
        spare = self.pressure.startswith("no_free_block")
        blocks = self.usable_blocks - max(kept, spare) - (self.preemption_mode == "swap")
        if self.gate == "future_peak":  # who is alone may add so much by the gate's count
            chunks = blocks * self.block_size // max(self.long_prefill_token_threshold, 1) + 1
            blocks -= (8 + chunks * (self.router_max_wait_tokens + 1)) // self.block_size + 1
        kept_tokens = 2 * self.block_size + 6 if self.gate == "expected_outputs" else self.num_lookahead_tokens
        return max(min(self.resolved_max_model_len, blocks * self.block_size - kept_tokens), 0)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that `tokens` tokens fill, the last one perhaps in part."""
        return -(-tokens // self.block_size)
