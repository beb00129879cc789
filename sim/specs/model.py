"""What a model is made of, and what follows from it: parameters, weight bytes, KV bytes per token."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from sim.specs.base import PositiveInt, Spec

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


class ModelSpec(Spec):
    """A dense decoder-only transformer with a gated three-matrix MLP, under Hugging Face's own field names.

    Grouped-query attention has fewer `num_key_value_heads` than `num_attention_heads`, multi-head attention as many.
    """

    name: str
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    source: str = ""

    @model_validator(mode="after")
    def _heads_form_groups(self) -> ModelSpec:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}; correct the model description"
            )
        return self

    @property
    def query_size(self) -> int:
        """Width of all query heads together (columns of the Q projection)."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together (and of all value heads)."""
        return self.num_key_value_heads * self.head_dim

    @property
    def attention_parameters_per_layer(self) -> int:
        """Weights of the Q, K, V and O projections of one layer."""
        return self.hidden_size * (2 * self.query_size + 2 * self.kv_size)

    @property
    def mlp_parameters_per_layer(self) -> int:
        """Weights of the gate, up and down projections of one layer."""
        return 3 * self.hidden_size * self.intermediate_size

    @property
    def lm_head_parameters(self) -> int:
        """Weights that turn one hidden state into logits (shared with the embedding when tied)."""
        return self.vocab_size * self.hidden_size

    @property
    def total_parameters(self) -> int:
        """Every weight of the checkpoint: embeddings, projections, biases, norms and the head."""
        biases = self.query_size + 2 * self.kv_size if self.attention_bias else 0
        norms = 2 * self.hidden_size
        layer = self.attention_parameters_per_layer + self.mlp_parameters_per_layer + biases + norms
        embeddings = self.lm_head_parameters * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + self.hidden_size + embeddings

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one weight, activation or cached key element."""
        return DTYPE_BYTES[self.dtype]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights over all GPUs."""
        return self.total_parameters * self.dtype_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one token of context keeps in the KV cache: keys and values of every layer."""
        return 2 * self.num_hidden_layers * self.kv_size * self.dtype_bytes
