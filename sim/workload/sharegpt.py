"""ShareGPT's conversations as a sample of prompt and output lengths.

The public file is a JSON list of `{id, conversations: [{from, value}]}`. Of each conversation the first message of a
human that gpt answers at once counts: the message is the prompt, the answer the output. The file holds text, and
servesim ships no tokenizer: tokens are estimated as ceil(characters / characters_per_token). Pairs are kept by the
rule of vLLM's serving benchmark: prompts of 4 to 1024 tokens, outputs of at least 4, at most 2048 together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.workload.traces.reading import UNREADABLE, open_text

LEAST_TOKENS, LONGEST_PROMPT_TOKENS, LONGEST_SEQUENCE_TOKENS = 4, 1024, 2048
SHAPE = "[{id, conversations: [{from, value}]}]"


@dataclass(frozen=True)
class ConversationLengths:
    """The kept pairs, arrays of equal length in tokens; `note` says how they came about."""

    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    note: str

    def sample(
        self, count: int, prompt_random: np.random.Generator, _output_random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`count` pairs drawn with replacement; one draw picks both lengths."""
        picked = prompt_random.integers(len(self.prompt_tokens), size=count)
        return self.prompt_tokens[picked], self.output_tokens[picked]


def read_conversations(path: Path, characters_per_token: float) -> ConversationLengths:
    """The pairs of the file at `path`, plain or .gz.

    Raises InputError naming the file, and the entry (counted from 1) where one is malformed; a conversation that merely
    has no pair to keep is left out and counted in the note.
    """
    entries = _entries(path)
    pairs = [_first_pair(path, number, entry) for number, entry in enumerate(entries, start=1)]
    kept = _usable([pair for pair in pairs if pair], characters_per_token)
    if not len(kept):
        raise InputError(
            f"{path}: none of its {len(entries)} conversations has a first human and gpt message of {LEAST_TOKENS} to "
            f"{LONGEST_PROMPT_TOKENS} and at least {LEAST_TOKENS} tokens, {LONGEST_SEQUENCE_TOKENS} at most together, "
            f"at {characters_per_token:g} characters a token; give another file or correct characters_per_token"
        )
    note = (
        f"token counts of {path.name} are estimated, {characters_per_token:g} characters a token, not counted by a "
        f"tokenizer; {len(kept)} of {len(entries)} conversations have a first pair of usable length"
    )
    return ConversationLengths(kept[:, 0], kept[:, 1], note)


def _usable(pairs: list[tuple[int, int]], characters_per_token: float) -> NDArray[np.int64]:
    """Pairs of characters as rows of prompt and output tokens, those that vLLM's benchmark keeps; shape (kept, 2)."""
    tokens = np.ceil(np.array(pairs, dtype=float).reshape(-1, 2) / characters_per_token).astype(np.int64)
    prompts, outputs = tokens.T
    long_enough = (prompts >= LEAST_TOKENS) & (outputs >= LEAST_TOKENS)
    short_enough = (prompts <= LONGEST_PROMPT_TOKENS) & (prompts + outputs <= LONGEST_SEQUENCE_TOKENS)
    usable: NDArray[np.int64] = tokens[long_enough & short_enough]
    return usable


def _entries(path: Path) -> list[Any]:
    try:
        with open_text(path) as file:
            entries = json.load(file)
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read ({error}); give ShareGPT's JSON list, plain or gzipped") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); give ShareGPT's JSON list {SHAPE}") from None
    if not isinstance(entries, list):
        raise InputError(f"{path}: is a JSON {type(entries).__name__}; give ShareGPT's JSON list {SHAPE}")
    if not entries:
        raise InputError(f"{path}: holds no conversations; give a list with at least one")
    return entries


def _first_pair(path: Path, number: int, entry: Any) -> tuple[int, int] | None:
    """The characters of the first message of a human that gpt answers and of that answer; None where there is none."""
    turns = entry.get("conversations") if isinstance(entry, dict) else None
    if not isinstance(turns, list):
        raise InputError(f"{path}, entry {number}: has no list 'conversations'; correct or remove the entry")
    asked: str | None = None
    for turn in turns:
        speaker, text = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        if not isinstance(speaker, str) or not isinstance(text, str):
            raise InputError(
                f"{path}, entry {number}: a message lacks its text 'from' or 'value'; correct or remove the entry"
            )
        if asked is not None and speaker == "gpt":
            return len(asked), len(text)
        asked = text if speaker == "human" else None
    return None
