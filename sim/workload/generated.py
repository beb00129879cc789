"""Generated requests. Each aspect is drawn from a stream of its own, so changing one leaves the others as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.specs.distributions import DurationDistribution
from sim.specs.experiment import Experiment
from sim.specs.workload import ClosedLoop, Conversations
from sim.streams import stream
from sim.workload.arrivals import draw_arrivals
from sim.workload.lengths import draw_durations, draw_lengths, draw_tokens, longest_sequence
from sim.workload.prefixes import Prefixes, draw_originals, draw_prefixes
from sim.workload.turns import Turns, deal
from sim.workload.workload import TurnTaking, Workload

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Texts:
    """What requests say: columns, and the conversation that each belongs to, from 0; None where each is by itself."""

    columns: dict[str, Any]
    conversation: IntArray | None
    notes: tuple[str, ...]


def generate(experiment: Experiment) -> Workload:
    """The requests of `arrivals`, `lengths` and `num_requests`, and of what they have in common."""
    spec, seed = experiment.workload, experiment.seed
    texts = _single_requests(experiment) if spec.conversations is None else _turns(experiment, spec.conversations)
    which, columns, notes = texts.conversation, texts.columns, texts.notes
    if spec.max_new_tokens is not None:
        columns["max_new_tokens"] = spec.max_new_tokens
    begun = _count(experiment) if which is None else int(which[-1]) + 1
    for column, shares, purpose in (("priority", spec.priorities, "priorities"), ("tenant", spec.tenants, "tenants")):
        if shares:
            chosen = _by_share(shares, begun, stream(seed, purpose))
            columns[column] = chosen if which is None else chosen[which]
    if spec.shares_text and not experiment.engine.enable_prefix_caching:
        notes = (*notes, "prompts have text in common; engine.enable_prefix_caching is off")
    return _arriving(experiment, texts, begun, notes)


def _by_share(shares: Mapping[Any, float], count: int, random: np.random.Generator) -> NDArray[Any]:
    weights = np.array(list(shares.values()))
    return random.choice(np.array(list(shares)), size=count, p=weights / weights.sum())


def _count(experiment: Experiment) -> int:
    assert experiment.workload.num_requests is not None
    return experiment.workload.num_requests


# ---- what is said ---------------------------------------------------------------------------------------------------


def _single_requests(experiment: Experiment) -> _Texts:
    """Requests that have nothing to do with each other, but for what their prompts share."""
    spec, count, limit = experiment.workload, _count(experiment), experiment.engine.longest_sequence_tokens
    prefixes = draw_prefixes(spec.shared_prefix, count, experiment.engine, experiment.seed)
    prompts, outputs, notes = _lengths(experiment, count, prefixes)
    columns: dict[str, Any] = {}
    if spec.repeat_probability is not None:
        columns["prompt_id"] = originals = draw_originals(spec.repeat_probability, count, experiment.seed)
        prompts, prefixes = prompts[originals], prefixes.take(originals)
        room_tokens = limit - prefixes.tokens - prompts
        cut = int((outputs > room_tokens).sum())
        outputs = np.minimum(outputs, room_tokens)
        if cut:
            binding = longest_sequence(experiment.engine)
            notes = (
                *notes,
                f"{cut} of {count} outputs were cut where a repeated prompt and its answer reach {binding}",
            )
    columns |= {"prompt_tokens": prefixes.tokens + prompts, "output_tokens": outputs}
    return _Texts(columns | _prefix_columns(experiment, prefixes), None, notes)


def _turns(experiment: Experiment, spec: Conversations) -> _Texts:
    """Conversations, one after another; in each turn all that was said is the prompt."""
    count = _count(experiment)
    prefixes = draw_prefixes(experiment.workload.shared_prefix, count, experiment.engine, experiment.seed)
    turns, notes = _deal(experiment, draw_tokens(spec.turns, count, stream(experiment.seed, "turns")), prefixes)
    prefixes = prefixes.take(turns.conversation)
    if turns.ended_early:
        ended = f"{turns.ended_early} of {turns.conversation[-1] + 1} conversations ended early"
        notes = (*notes, f"{ended}, where the next turn would have exceeded {longest_sequence(experiment.engine)}")
    columns = {
        "prompt_tokens": prefixes.tokens + turns.prompt_tokens,
        "output_tokens": turns.output_tokens,
        "session_id": turns.conversation,
        "turn": turns.turn,
    }
    return _Texts(columns | _prefix_columns(experiment, prefixes), turns.conversation, notes)


def _deal(experiment: Experiment, most_turns: IntArray, prefixes: Prefixes) -> tuple[Turns, tuple[str, ...]]:
    """As many pairs of lengths as it takes, dealt out to conversations, and notes on them."""
    count, limit = _count(experiment), experiment.engine.longest_sequence_tokens
    for pairs in (count, 2 * count):
        prompts, outputs, notes = _lengths(experiment, pairs, prefixes)
        turns = deal(prompts, outputs, most_turns, limit - prefixes.tokens, count)
        if turns is not None:
            return turns, notes
    raise AssertionError("twice as many pairs as turns did not suffice")


def _lengths(experiment: Experiment, count: int, prefixes: Prefixes) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """Pairs that fit after any of the prefixes."""
    spec = experiment.workload
    assert spec.lengths is not None
    prefix_tokens = prefixes.longest_tokens
    return draw_lengths(spec.lengths, count, experiment.engine, experiment.seed, spec.max_new_tokens, prefix_tokens)


def _prefix_columns(experiment: Experiment, prefixes: Prefixes) -> dict[str, IntArray]:
    if experiment.workload.shared_prefix is None:
        return {}
    return {"prefix_id": prefixes.chosen, "prefix_tokens": prefixes.tokens}


# ---- when it is said ------------------------------------------------------------------------------------------------


def _arriving(experiment: Experiment, texts: _Texts, begun: int, notes: tuple[str, ...]) -> Workload:
    """Requests, or `begun` conversations, that come by the clock or from users."""
    arrivals, columns, seed = experiment.workload.arrivals, texts.columns, experiment.seed
    assert arrivals is not None
    users = think_s = None
    if isinstance(arrivals, ClosedLoop):
        users, think_s = arrivals.users, _pauses(arrivals.think_time_s, begun, stream(seed, "think_times"))
    else:
        columns["arrival_s"] = draw_arrivals(arrivals, begun, stream(seed, "arrivals"))
    which, talk = texts.conversation, experiment.workload.conversations
    if which is None or talk is None:
        return Workload(pd.DataFrame(columns), users, think_s, notes)
    is_first = columns["turn"] == 1
    pause_s = _pauses(talk.think_time_s, len(which), stream(seed, "turn_think_times"))
    if think_s is None:
        columns["arrival_s"] = np.where(is_first, columns["arrival_s"][which], np.nan)
    pause_s[is_first] = 0.0 if think_s is None else think_s
    return Workload(pd.DataFrame(columns), notes=notes, turn_taking=TurnTaking(pause_s, users))


def _pauses(spec: DurationDistribution | None, count: int, random: np.random.Generator) -> FloatArray:
    """`count` pauses in seconds, of none where nobody says how long."""
    return np.zeros(count) if spec is None else draw_durations(spec, count, random)
