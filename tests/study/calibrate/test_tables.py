"""Every layout is read into the same tables; what is no layout is refused."""

from __future__ import annotations

import pandas as pd
import pytest
import synthetic
from pandas.testing import assert_frame_equal

from sim.errors import InputError
from sim.study.calibrate.operators import ALL_REDUCE, COLUMNS, DECODE, EXPERTS, GEMM, LM_HEAD, MIXED, SAMPLER
from sim.study.calibrate.tables import read_tables
from sim.study.calibrate.tables.plain import write_plain


def written(tmp_path, name, **columns):
    path = tmp_path / name
    frame = pd.DataFrame(columns)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def test_the_plain_table_comes_back_as_written(tmp_path):
    tables = synthetic.everything()
    write_plain(tables).to_csv(tmp_path / "mine.csv", index=False)
    back = read_tables([tmp_path / "mine.csv"])
    assert back.keys() == tables.keys()
    for name, frame in tables.items():
        assert_frame_equal(back[name], frame[[*COLUMNS[name], "seconds"]], check_dtype=False, rtol=1e-9)


def test_layer_profiles_have_the_shapes_of_their_share_of_the_model(tmp_path):
    dense = written(tmp_path, "x_llama31_8b_tp2_dense.csv", layer=["qkv_proj", "act_fn"], tokens=[8, 8], time_us=[9, 3])
    heads = written(
        tmp_path, "x_llama31_8b_tp2_per_sequence.csv", layer=["lm_head", "sampler"], sequences=[4, 4], time_us=[300, 30]
    )
    found = read_tables([dense, heads])
    assert found[GEMM].iloc[0].to_dict() == {
        "dtype": "bfloat16", "rows": 8, "inputs": 4096, "outputs": 3072, "seconds": pytest.approx(9e-6)
    }  # fmt: skip
    assert found[LM_HEAD]["outputs"].tolist() == [64128]
    assert found[SAMPLER]["seconds"].tolist() == [pytest.approx(30e-6)]


def test_layer_profiles_of_attention_are_parted_by_what_is_in_the_batch(tmp_path):
    attention = written(
        tmp_path, "x_llama31_8b_tp1_attention.csv",
        prefill_chunk=[0, 64, 64], kv_prefill=[0, 32, 0], n_decode=[4, 0, 2], kv_decode=[99, 0, 49],
        time_us=[10, 20, 30],
    )  # fmt: skip
    skew = written(
        tmp_path, "x_llama31_8b_tp1_skew.csv",
        regime=["pure"], n=[4], nb=[1], pc=[0], kp=[0], kvs=[9], kv_big=[99], t_skew_us=[33],
    )  # fmt: skip
    found = read_tables([attention, skew])
    assert found[DECODE][["sequences", "keys", "kv_heads"]].to_numpy().tolist() == [[4, 400, 8], [4, 130, 8]]
    assert found[MIXED][["decodes", "decode_keys", "longest_decode"]].to_numpy().tolist() == [[0, 0, 0], [2, 100, 50]]


def test_operator_tables_are_read_and_repeated_points_averaged(tmp_path):
    gemm = written(
        tmp_path, "a.parquet", gemm_dtype=["fp8"] * 2, m=[8] * 2, n=[64] * 2, k=[32] * 2, latency_ms=[1.0, 3.0]
    )
    reduce = written(
        tmp_path, "b.parquet",
        num_gpus=[2, 2], message_size=[128, 128], backend=["vllm_graph", "vllm_eager"], latency_ms=[0.005, 0.05],
    )  # fmt: skip
    moe = written(
        tmp_path, "c.parquet", moe_dtype=["bfloat16"], num_tokens=[8], hidden_size=[64], inter_size=[32], topk=[2],
        num_experts=[8], moe_tp_size=[2], moe_ep_size=[4], distribution=["balanced"], latency_ms=[0.1],
    )  # fmt: skip
    found = read_tables([gemm, reduce, moe])
    assert found[GEMM][["dtype", "inputs", "outputs", "seconds"]].to_numpy().tolist() == [["float8", 32, 64, 2e-3]]
    assert found[ALL_REDUCE][["message_bytes", "seconds"]].to_numpy().tolist() == [[256, pytest.approx(5e-6)]]
    assert found[EXPERTS][["intermediate_size", "ranks"]].to_numpy().tolist() == [[16, 4]]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("a.csv", {"m": [1], "us": [2]}, "has the columns m, us, which is no known layout; it must have"),
        (
            "a.parquet",
            {"op_name": ["x"], "num_gpus": [2], "message_size": [1], "latency_ms": [1.0]},
            "NCCL collectives",
        ),
        ("dense.csv", {"layer": ["o_proj"], "tokens": [1], "time_us": [1]}, "its name must contain llama31_8b_tp1_"),
        ("a.csv", {"operator": ["gem"], "time_us": [1]}, "operator: unknown 'gem'; did you mean 'gemm'"),
        ("a.csv", {"operator": ["gemm"], "time_us": [1], "row": [1]}, "unknown column 'row'; did you mean 'rows'"),
        ("a.csv", {"operator": ["gemm"], "time_us": [0]}, "time_us: got 0 in row 1, must be a positive number"),
        ("a.csv", {"operator": ["gemm"], "time_us": ["x"]}, "time_us: got 'x' in row 1"),
        ("a.csv", {"operator": ["sampler"], "time_us": [1]}, "sequences of sampler: is missing in row 1"),
        ("a.csv", {"operator": ["sampler"], "time_us": [1], "sequences": [-1]}, "sequences of sampler: got .*-1"),
        ("a.csv", {"operator": ["gemm"], "time_us": [1], "dtype": ["fp8"]}, "dtype: unknown 'fp8'; known: bfloat16"),
        (
            "a.parquet",
            {"gemm_dtype": ["x"], "m": [1], "n": [1], "k": [1], "latency_ms": [1.0]},
            "unknown data type 'x'",
        ),
        (
            "a.parquet",
            {"gemm_dtype": ["bfloat16"] * 2, "m": [1, -2], "n": [1, 1], "k": [1, 1], "latency_ms": [1.0, 1.0]},
            "m: got -2 in row 2, must be a number, zero or more",
        ),
        (
            "llama31_8b_tp1_dense.csv",
            {"layer": ["o_proj"], "tokens": ["x"], "time_us": [1]},
            "tokens: got 'x' in row 1, must be a number",
        ),
        ("a.csv", {"operator": ["gemm", None], "time_us": [1, 1]}, "operator: is missing in row 2; fill it in"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, columns, message):
    with pytest.raises(InputError, match=message):
        read_tables([written(tmp_path, name, **columns)])


def test_files_that_are_not_there_or_no_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_tables([tmp_path / "none.csv"])
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no table"):
        read_tables([tmp_path / "a.parquet"])
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(InputError, match="is no table"):
        read_tables([tmp_path / "a.csv"])
