"""The sarathi-serve repository, commit 96f9911: its Orca, FasterTransformer, Sarathi and simple-chunking schedulers."""

from __future__ import annotations

from sim.errors import InputError, did_you_mean
from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.study.recordings.framework import Framework, Record, finished_in_batch_order

PRESETS = {"static": "static", "orca": "orca", "sarathi": "sarathi", "simple_chunking": "sarathi-simple-chunking"}
ARGUMENTS = ("max_num_seqs", "max_model_len", "block_size", "num_gpu_blocks")


def _engine(config: Record) -> tuple[str, Record]:
    scheduler = config["scheduler"]
    if scheduler not in PRESETS:
        raise InputError(f"scheduler '{scheduler}' has no preset; {did_you_mean(scheduler, PRESETS)}")
    values = {key: config[key] for key in ARGUMENTS}
    if scheduler == "static":
        values |= {"pad_to_longest": False, "release": "on_finish"}
    if scheduler in ("sarathi", "simple_chunking"):
        values["chunk_size"] = config["chunk_size"]
    return PRESETS[scheduler], values


def _in_its_words(record: Record, plan: Plan, core: SchedulerCore) -> Record:
    record = record | {"scheduled": sorted(record["scheduled"], key=lambda part: part["phase"] == "decode")}
    return record | {"finished": finished_in_batch_order(record)}


SARATHI = Framework(_engine, lambda: _in_its_words)
