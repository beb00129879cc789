"""vLLM's `speculative_config` in our words: what maps, what asks for nothing, and what is refused by name."""

from __future__ import annotations

from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs.speculation import MOST_DRAFTS, SpeculationSpec

SPECULATIVE_CONFIG = "speculative_config"
FIELD = f"engine.{SPECULATIVE_CONFIG}"
METHODS = {"ngram": "ngram", "[ngram]": "ngram", "ngram_gpu": "ngram", "draft_model": "draft_model"}
SYNTHETIC = ("synthetic_acceptance_rates", "synthetic_acceptance_length")
LOOKUP = ("prompt_lookup_max", "prompt_lookup_min")

NOT_MODELLED: dict[str, Any] = {
    "attention_backend": None,
    "disable_padded_drafter_batch": False,
    "draft_load_config": None,
    "draft_sample_method": "greedy",
    "enable_adaptive_verification": False,
    "enforce_eager": None,
    "kv_cache_dtype": None,
    "max_model_len": None,
    "moe_backend": None,
    "num_speculative_tokens_per_batch_size": None,
    "parallel_drafting": False,
    "quantization": None,
    "use_heterogeneous_vocab": False,
    "use_local_argmax_reduction": False,
}
"""vLLM's keys that are not modelled, and the value under which each asks for nothing. What concerns EAGLE, MTP, DFlash,
DSpark, suffix decoding or FLy alone is refused with the method."""

WITHOUT_EFFECT = ("revision", "code_revision")
"""Which checkpoint is meant: its sizes are read from the description."""


def drafts_in_our_words(written: Any, tensor_parallel_size: Any) -> tuple[Any, list[str]]:
    """A `speculative_config`, in which our keys may stand too, as `engine.speculation`; and notes on what does nothing.

    Raises InputError for what is not modelled; what is wrong with the rest is found when it is validated.
    """
    if not isinstance(written, dict):
        return written, []
    given = {key: value for key, value in written.items() if key not in WITHOUT_EFFECT}
    _refuse_unknown(given)
    for key, off in NOT_MODELLED.items():
        if given.pop(key, off) != off:
            raise InputError(f"{FIELD}.{key}: got {written[key]!r}, which is not modelled yet; drop the line")
    _check_gpus(given.pop("draft_tensor_parallel_size", None), tensor_parallel_size)
    _name_method(given)
    _name_acceptance(given)
    return given, _drop_lookup(given)


def _refuse_unknown(given: dict[str, Any]) -> None:
    others = {*SYNTHETIC, *LOOKUP, "rejection_sample_method", "draft_tensor_parallel_size"}
    known = set(SpeculationSpec.model_fields) | set(NOT_MODELLED) | others
    for key in given:
        if key not in known:
            raise InputError(f"{FIELD}.{key}: unknown or not modelled yet; {did_you_mean(str(key), known)}")


def _check_gpus(size: Any, tensor_parallel_size: Any) -> None:
    """vLLM runs a draft model on all GPUs of the model (vllm/v1/spec_decode/draft_model.py)."""
    if size is not None and size != tensor_parallel_size:
        raise InputError(
            f"{FIELD}.draft_tensor_parallel_size: got {size!r}, must be engine.tensor_parallel_size "
            f"{tensor_parallel_size}; drop the line"
        )


def _name_method(given: dict[str, Any]) -> None:
    """vLLM guesses the method from the model, and calls n-gram lookup a model of that name."""
    model, method = given.get("model"), given.get("method")
    looks_up = isinstance(model, str) and METHODS.get(model) == "ngram"
    if method is None:
        method = "ngram" if looks_up else "draft_model"
    if not isinstance(method, str) or method not in METHODS:
        choice = did_you_mean(str(method), METHODS)
        raise InputError(f"{FIELD}.method: got {method!r}, which is unknown or not modelled yet; {choice}")
    given["method"] = METHODS[method]
    if looks_up:
        del given["model"]


def _name_acceptance(given: dict[str, Any]) -> None:
    """The rates of vLLM's synthetic rejection sampling are those that we call per position."""
    method = given.pop("rejection_sample_method", "standard")
    synthetic = {key: value for key in SYNTHETIC if (value := given.pop(key, None)) is not None}
    if method not in ("standard", "synthetic"):
        raise InputError(
            f"{FIELD}.rejection_sample_method: got {method!r}, which is not modelled yet; drop the line and let "
            "acceptance say how often drafts are right"
        )
    if (method == "synthetic") != bool(synthetic) or len(synthetic) + ("acceptance" in given) > 1:
        there = [*synthetic, *(["acceptance"] if "acceptance" in given else [])]
        raise InputError(
            f"{FIELD}.rejection_sample_method: got {method!r} and {' and '.join(there) or 'no rates'}, must be "
            f"'synthetic' with one of {' and '.join(SYNTHETIC)}, or acceptance alone; keep one"
        )
    for key, value in synthetic.items():
        rates = value if key == SYNTHETIC[0] else _rates_of(value, given.get("num_speculative_tokens"))
        given["acceptance"] = {"kind": "per_position", "rates": rates}


def _rates_of(length: Any, drafts: Any) -> list[float]:
    """As vLLM reads a mean length: the first drafts are always right, the next sometimes, the others never."""
    place = f"{FIELD}.synthetic_acceptance_length: got {length!r}"
    if isinstance(length, bool) or not isinstance(length, int | float) or not isinstance(drafts, int):
        raise InputError(f"{place}, must be a number, beside num_speculative_tokens; correct the value")
    if not 1 <= drafts <= MOST_DRAFTS:
        raise InputError(
            f"{FIELD}.num_speculative_tokens: got {drafts}, must be from 1 to {MOST_DRAFTS}; correct the value"
        )
    if not 1 <= length <= drafts + 1:
        raise InputError(
            f"{place}, must be from 1 to the {drafts + 1} tokens of a round with num_speculative_tokens {drafts}; "
            "correct the value"
        )
    return [min(max(length - 1 - position, 0.0), 1.0) for position in range(drafts)]


def _drop_lookup(given: dict[str, Any]) -> list[str]:
    """How long a match must be decides how often there is one, and that is given as a share."""
    lengths = {key: value for key in LOOKUP if (value := given.pop(key, None)) is not None}
    for key, value in lengths.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{FIELD}.{key}: got {value!r}, must be a whole number from 1; correct the value")
        if given["method"] != "ngram":
            raise InputError(f"{FIELD}.{key}: got {value}, but only method ngram looks anything up; drop the line")
    why = "match_share says how often a lookup finds something"
    return [f"{FIELD}.{key} {value} has no effect: {why}" for key, value in lengths.items()]
