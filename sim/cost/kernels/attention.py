"""Attention of one layer: a kernel for batches that only decode, and a variable-length one as soon as prompts are in.

    only decodes   t = c_d + n k_d + sqrt( (keys · 2 H (d_k + d_v) / (F e_p))^2 + (keys · bytes / (B e_kv))^2 )
    with prompts   t = max( c_p + H · sum over rows of ceil(q / Br) (k_p + 2 (d_k + d_v) Br kbar / (F e_p)),
                            2 (d_k + d_v) Br · longest context · N_SM / (F e_p) )

A row has q new tokens on c cached ones; a tile of its queries (Br rows) sees kbar = c + (q + Br)/2 keys on average, of
a decode c + 1. With a prompt in the batch the variable-length kernel gives each decode a whole tile a head, and loses
the packing of the heads that share keys; kernels that keep it (`packs_decode_rows`) do the decodes as in the first
form. The second arm of max() is the critical path: the longest row's tile runs on one of N_SM multiprocessors. Dao,
"FlashAttention-2" (arXiv 2307.08691), section 3; both forms fitted on measured kernels.

A decode that verifies drafts has more queries, but not more than fit into the tile that one is given: it reads its keys
once, and multiplies each with all who see it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.cost.kernels.parts import Parts


class Heads(NamedTuple):
    """Attention of one layer on one GPU.

    `flops_per_pair` of a query and a key, one head: 2 (d_k + d_v), twice 2 d where both are d wide. In decode
    `decode_flops_per_key` over all heads and `key_bytes` a cached token; latent attention, whose queries meet the
    compressed vector there, has other numbers in decode than in prefill.
    """

    query_heads: float
    flops_per_pair: float
    decode_flops_per_key: float
    key_bytes: float


class AttentionSpeed(NamedTuple):
    """Constants of the formulas above; `flop_per_s` is F e_p, `bytes_per_s` B e_kv."""

    flop_per_s: float
    bytes_per_s: float
    decode_start_s: float
    decode_row_s: float
    prefill_start_s: float
    prefill_tile_s: float
    query_tile_tokens: int
    packs_decode_rows: bool
    multiprocessors: int


def decode_attention(heads: Heads, rows: Any, keys: Any, speed: AttentionSpeed, draft_pairs: Any = 0) -> Parts:
    """A batch that only decodes: `rows` sequences that attend to `keys` tokens in all, their new ones included.

    Drafts besides see `draft_pairs` keys, of those that are read anyway.
    """
    compute_s = (keys + draft_pairs) * heads.decode_flops_per_key / speed.flop_per_s
    memory_s = keys * heads.key_bytes / speed.bytes_per_s
    return Parts(compute_s, memory_s, speed.decode_start_s + rows * speed.decode_row_s)


class MixedAttention:
    """The kernel for batches with prompts: `tiles` of their queries that see `tile_keys` keys in all, beside `decodes`.

    `longest` is the most tokens that a row attends to.
    """

    def __init__(self, heads: Heads, speed: AttentionSpeed) -> None:
        pair_s = heads.flops_per_pair * speed.query_tile_tokens / speed.flop_per_s
        self._start_s, self._tile_s = speed.prefill_start_s, heads.query_heads * speed.prefill_tile_s
        self._tile_key_s, self._path_s = heads.query_heads * pair_s, pair_s * speed.multiprocessors
        self._packs = speed.packs_decode_rows
        self._row_s = speed.decode_row_s
        self._key_s: float = decode_attention(heads, 0, 1, speed).overlapped_s
        self._heads, self._speed = heads, speed

    def seconds(self, tiles: float, tile_keys: float, decodes: float, decode_keys: float, longest: float) -> float:
        """Of one batch: what `parts` sum up to."""
        if self._packs:
            tiles_s = self._start_s + tiles * self._tile_s + tile_keys * self._tile_key_s
            return max(tiles_s, longest * self._path_s) + decodes * self._row_s + decode_keys * self._key_s
        tiles_s = self._start_s + (tiles + decodes) * self._tile_s + (tile_keys + decode_keys) * self._tile_key_s
        return max(tiles_s, longest * self._path_s)

    def drafts_s(self, decode_keys: Any, draft_pairs: Any) -> Any:
        """How much longer decodes take that verify drafts: nothing where each has a tile to itself, which has room."""
        if not self._packs:
            return 0.0 * decode_keys
        verifying = decode_attention(self._heads, 0, decode_keys, self._speed, draft_pairs)
        return verifying.overlapped_s - decode_attention(self._heads, 0, decode_keys, self._speed).overlapped_s

    def parts(
        self, tiles: Any, tile_keys: Any, decodes: Any, decode_keys: Any, longest: Any, draft_pairs: Any = 0
    ) -> Parts:
        """Of one batch, or of many as arrays. Waiting for the longest row counts as arithmetic."""
        memory_s, rows_s = self.drafts_s(decode_keys, draft_pairs), 0.0 * decodes
        if self._packs:
            memory_s, rows_s = decode_keys * self._key_s + memory_s, decodes * self._row_s
        else:
            tiles, tile_keys = tiles + decodes, tile_keys + decode_keys
        fixed_s, keys_s = self._start_s + tiles * self._tile_s, tile_keys * self._tile_key_s
        waits_s = longest * self._path_s - fixed_s - keys_s
        return Parts(keys_s + waits_s * (waits_s > 0), memory_s, fixed_s + rows_s, power=1.0)
