"""What a model is made of, and what follows from it: parameters, weight bytes, KV bytes per token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim import formulas
from sim.specs.base import MOST_UNITS, Heads, Layers, Spec, Units

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
Bits = Annotated[float, Field(gt=0, le=32)]
COMPRESSED_FP8 = "compressed-tensors FP8"
COMPUTES_IN = {"fp8": "float8", "modelopt FP8": "float8", COMPRESSED_FP8: "float8", "modelopt NVFP4": "float4"}
"""The data type of products by how a model is quantised, where activations are as well."""


class LatentAttention(Spec):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one compressed vector a token is cached."""

    q_lora_rank: Units | None
    kv_lora_rank: Units
    qk_nope_head_dim: Units
    qk_rope_head_dim: Units
    v_head_dim: Units

    @property
    def cached_size(self) -> int:
        """Elements one token keeps in the cache of a layer: the latent vector and the shared rotary key."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    def parameters(self, hidden_size: int, num_heads: int) -> int:
        """Weights of one layer: down- and up-projections of queries and of keys and values, and the output."""
        query_size = num_heads * (self.qk_nope_head_dim + self.qk_rope_head_dim)
        rank = self.q_lora_rank
        queries = hidden_size * query_size if rank is None else rank * (hidden_size + query_size)
        up = self.kv_lora_rank * num_heads * (self.qk_nope_head_dim + self.v_head_dim)
        return queries + hidden_size * self.cached_size + up + num_heads * self.v_head_dim * hidden_size


class Experts(Spec):
    """A mixture of experts in `num_moe_layers` of the layers; each token runs `num_experts_per_tok` of them.

    `shared_intermediate_size` is the width of the shared experts together, which every token runs; 0 without any.
    """

    num_experts: Units
    num_experts_per_tok: Units
    moe_intermediate_size: Units
    shared_intermediate_size: Annotated[int, Field(ge=0, le=MOST_UNITS)] = 0
    num_moe_layers: Layers

    @model_validator(mode="after")
    def _chooses_among_them(self) -> Experts:
        if self.num_experts_per_tok > self.num_experts:
            raise ValueError(
                f"num_experts_per_tok {self.num_experts_per_tok} exceeds num_experts {self.num_experts}; "
                "correct one of them"
            )
        return self


class WindowedLayers(Spec):
    """Layers that attend to, and keep, only the last `window_tokens` tokens."""

    num_layers: Layers
    window_tokens: Units


class Quantization(Spec):
    """Bits per weight, scales included, of the parts that are quantised; embeddings, head and norms never are."""

    method: str
    attention_bits: Bits
    mlp_bits: Bits
    expert_bits: Bits
    kv_cache_bytes: Literal[1] | None = None

    @property
    def computes_in(self) -> str | None:
        """The data type of the products where activations are quantised too; None where only weights are."""
        return COMPUTES_IN.get(self.method)


class ModelSpec(Spec):
    """A decoder-only transformer with gated three-matrix MLPs, under Hugging Face's own field names.

    Grouped-query attention has fewer `num_key_value_heads` than `num_attention_heads`, multi-head attention as many;
    with `latent_attention` both are only heads of the up-projections. `intermediate_size` is the width of the dense
    MLPs, which a model whose layers are all mixtures of experts does not have.
    """

    name: str
    hidden_size: Units
    num_hidden_layers: Layers
    num_attention_heads: Heads
    num_key_value_heads: Heads
    head_dim: Units
    intermediate_size: Units
    vocab_size: Units
    max_position_embeddings: Units
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    latent_attention: LatentAttention | None = None
    experts: Experts | None = None
    windowed_layers: WindowedLayers | None = None
    quantization: Quantization | None = None
    source: str = ""

    @model_validator(mode="after")
    def _heads_form_groups(self) -> ModelSpec:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}; correct the model description"
            )
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> ModelSpec:
        for part, layers in (
            ("experts.num_moe_layers", self.experts.num_moe_layers if self.experts else 0),
            ("windowed_layers.num_layers", self.windowed_layers.num_layers if self.windowed_layers else 0),
        ):
            if layers > self.num_hidden_layers:
                raise ValueError(
                    f"{part} {layers} exceeds num_hidden_layers {self.num_hidden_layers}; correct one of them"
                )
        return self

    # ---- widths -----------------------------------------------------------------------------------------------------

    @property
    def query_size(self) -> int:
        """Width of all query heads together (columns of the Q projection)."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together (and of all value heads)."""
        return self.num_key_value_heads * self.head_dim

    @property
    def active_intermediate_size(self) -> int:
        """Width of the MLP that one token runs through in the widest layer."""
        if self.experts is None:
            return self.intermediate_size
        routed = self.experts.num_experts_per_tok * self.experts.moe_intermediate_size
        return max(
            routed + self.experts.shared_intermediate_size, self.intermediate_size if self.num_dense_layers else 0
        )

    @property
    def num_dense_layers(self) -> int:
        """Layers with an ordinary MLP."""
        return self.num_hidden_layers - (self.experts.num_moe_layers if self.experts else 0)

    # ---- parameters -------------------------------------------------------------------------------------------------

    @property
    def attention_parameters_per_layer(self) -> int:
        """Weights of the attention projections of one layer."""
        if self.latent_attention is not None:
            return self.latent_attention.parameters(self.hidden_size, self.num_attention_heads)
        return self.hidden_size * (2 * self.query_size + 2 * self.kv_size)

    @property
    def mlp_parameters_per_layer(self) -> int:
        """Weights of the gate, up and down projections of one dense layer."""
        return 3 * self.hidden_size * self.intermediate_size

    @property
    def lm_head_parameters(self) -> int:
        """Weights that turn one hidden state into logits (shared with the embedding when tied)."""
        return self.vocab_size * self.hidden_size

    @property
    def expert_parameters(self) -> int:
        """Weights of all routed experts of all layers."""
        if self.experts is None:
            return 0
        one = 3 * self.hidden_size * self.experts.moe_intermediate_size
        return one * self.experts.num_experts * self.experts.num_moe_layers

    @property
    def total_parameters(self) -> int:
        """Every weight of the checkpoint: embeddings, projections, experts, routers, biases, norms and the head.

        Biases other than those of QKV, and layers that only predict further tokens (MTP), are left out.
        """
        return self._attention_parameters + self._mlp_parameters + self.expert_parameters + self._other_parameters

    @property
    def active_parameters(self) -> int:
        """Weights that one token runs through, the input embedding counted whole."""
        if self.experts is None:
            return self.total_parameters
        idle_share = 1 - self.experts.num_experts_per_tok / self.experts.num_experts
        return self.total_parameters - round(self.expert_parameters * idle_share)

    @property
    def matrix_parameters(self) -> int:
        """Weights that one token is multiplied with: projections, MLPs, its experts, routers and the head."""
        embedding = 0 if self.tie_word_embeddings else self.lm_head_parameters
        return self.active_parameters - embedding - self._vector_parameters

    @property
    def _attention_parameters(self) -> int:
        return self.num_hidden_layers * self.attention_parameters_per_layer

    @property
    def _mlp_parameters(self) -> int:
        """Dense MLPs and shared experts."""
        shared = 0
        if self.experts is not None:
            shared = 3 * self.hidden_size * self.experts.shared_intermediate_size * self.experts.num_moe_layers
        return self.num_dense_layers * self.mlp_parameters_per_layer + shared

    @property
    def _other_parameters(self) -> int:
        """Embedding, head, routers, QKV biases and norms: what quantisation leaves alone."""
        embeddings = self.lm_head_parameters * (1 if self.tie_word_embeddings else 2)
        routers = self.hidden_size * self.experts.num_experts * self.experts.num_moe_layers if self.experts else 0
        return embeddings + routers + self._vector_parameters

    @property
    def _vector_parameters(self) -> int:
        """QKV biases and norms."""
        biases = self.query_size + 2 * self.kv_size if self.attention_bias else 0
        return self.num_hidden_layers * biases + self.hidden_size * (2 * self.num_hidden_layers + 1)

    # ---- bytes ------------------------------------------------------------------------------------------------------

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one activation, and of a weight that is not quantised."""
        return DTYPE_BYTES[self.dtype]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights over all GPUs."""
        if self.quantization is None:
            return self.total_parameters * self.dtype_bytes
        quantized = (
            self._attention_parameters * self.quantization.attention_bits
            + self._mlp_parameters * self.quantization.mlp_bits
            + self.expert_parameters * self.quantization.expert_bits
        )
        return round(quantized / 8) + self._other_parameters * self.dtype_bytes

    @property
    def kv_element_bytes(self) -> int:
        """Bytes of one cached element."""
        return (self.quantization.kv_cache_bytes if self.quantization else None) or self.dtype_bytes

    @property
    def kv_bytes_per_token_per_layer(self) -> int:
        """Bytes that one token keeps in the cache of one layer: keys and values, or the latent vector."""
        if self.latent_attention is not None:
            return self.latent_attention.cached_size * self.kv_element_bytes
        return formulas.kv_bytes_per_token(1, self.num_key_value_heads, self.head_dim, self.kv_element_bytes)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one token of context keeps in the KV cache of all layers (windowed ones drop it again later)."""
        return self.num_hidden_layers * self.kv_bytes_per_token_per_layer

    def kv_shards(self, tensor_parallel_size: int) -> int:
        """Over how many GPUs the cache is split: KV heads are, as far as they go; a latent vector is kept by each."""
        return 1 if self.latent_attention else min(tensor_parallel_size, self.num_key_value_heads)

    @property
    def beyond_the_roofline(self) -> str | None:
        """The first part of this model that the textbook roofline cannot time, if there is one."""
        parts = {
            "latent attention": self.latent_attention,
            "a mixture of experts": self.experts,
            "sliding-window layers": self.windowed_layers,
            "quantised weights": self.quantization,
        }
        return next((name for name, part in parts.items() if part is not None), None)
