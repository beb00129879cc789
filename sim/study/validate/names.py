"""The names that engines and drivers use, and the catalogue's entries that they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.accelerator import GIB

VARIANT_WORDS = {"instruct", "it", "chat", "hf", "base", "thinking", "preview"}
"""Of a model's name: how it was trained further, which changes no shape."""
QUANTIZED_WORDS = {"fp8", "dynamic", "kv"}
FORM_WORDS = {"sxm", "pcie", "nvl", "16gb", "32gb", "40gb", "80gb"}
"""Of a device's name: which variant of it; without any it is the largest one on a board of its own (SXM)."""
OTHER_DEVICE_WORDS = {"laptop", "mig", "d"}
"""Of a device's name: it is slower than its name without that word says."""
PCIE_BYTES_PER_S = 64e9
OVER_PCIE: dict[str, dict[str, float]] = {
    "a100-80gb-sxm": {"memory_bytes_per_s": 1.935e12, "link_bytes_per_s": PCIE_BYTES_PER_S, "power_w": 300},
    "a100-40gb-sxm": {"memory_bytes_per_s": 1.555e12, "link_bytes_per_s": PCIE_BYTES_PER_S, "power_w": 250},
}
"""How the PCIe card of a device differs that is in the catalogue only on a board of its own."""


@dataclass(frozen=True)
class Device:
    """A catalogue entry, and how the device meant differs from it."""

    entry: str
    changes: Mapping[str, float] = field(default_factory=dict)


def model_named(name: str, where: str) -> tuple[str, str | None]:
    """The catalogue's model that a Hugging Face name (or a path that ends in one) means, and how it is quantised.

    The second is None where the catalogue's entry says all. A name in full beats one without the words for variants.
    Raises InputError, for the value at `where`, if no model has the name.
    """
    repository = _repository(name)
    by_source, plain = _sources(), repository.rpartition("/")[2]
    for key in (repository, plain):
        if key in by_source:
            return by_source[key], None
    if plain in catalogue.names("models"):
        return plain, None
    by_words = {_words(source.rpartition("/")[2]): entry for source, entry in by_source.items()}
    by_words |= {_words(entry): entry for entry in catalogue.names("models")}
    words = _words(plain)
    if words in by_words:
        return by_words[words], None
    unquantized = tuple(word for word in words if word not in QUANTIZED_WORDS)
    if "fp8" in words and unquantized in by_words:
        return by_words[unquantized], "fp8"
    raise InputError(
        f"{where}: '{name}' is no model of the catalogue; {did_you_mean(plain, catalogue.names('models'))}; put the "
        "model's config.json beside it, or give --set model=NAME"
    )


def _repository(name: str) -> str:
    """`org/name` in small letters, also of a folder in the Hugging Face cache."""
    cached = re.search(r"models--(.+?)--([^/]+)", name)
    return ("/".join(cached.groups()) if cached else name).strip("/").lower()


def _sources() -> dict[str, str]:
    """The catalogue's models by the repositories that their config.json is from: in full, and without organisation."""
    found: dict[str, str] = {}
    for entry in catalogue.names("models"):
        source = str(catalogue.entry("models", entry, "model").get("source", ""))
        for repository in re.findall(r"[\w.-]+/[\w.-]+", source):
            found[repository.lower()] = found[repository.lower().rpartition("/")[2]] = entry
    return found


def _words(name: str) -> tuple[str, ...]:
    """What says which shape a model has: without variants, months of release (2507) and Meta's name before Llama's."""
    words = re.split(r"[-_ ]", name.lower())
    words = words[1:] if words[0] == "meta" else words
    return tuple(word for word in words if word not in VARIANT_WORDS and not re.fullmatch(r"\d{4}", word))


def device_named(name: str, memory_bytes: int | None, where: str) -> Device:
    """The catalogue's accelerator that a driver's name (`NVIDIA H100 80GB HBM3`) means; `memory_bytes` if known.

    Raises InputError, for the value at `where`, if there is none.
    """
    if name.lower() in catalogue.names("accelerators"):
        return Device(name.lower())
    words = _device_words(name, memory_bytes)
    entries = {entry: _device_words(entry, None) for entry in catalogue.names("accelerators")}
    fitting = [entry for entry, own in entries.items() if own - FORM_WORDS <= words]
    if not fitting or words & OTHER_DEVICE_WORDS:
        raise InputError(
            f"{where}: '{name}' is no accelerator of the catalogue; {did_you_mean(name, entries)}; give "
            "--set accelerator=NAME (a path to a description of your own works too)"
        )
    best = max(fitting, key=lambda entry: _likeness(entries[entry], words))
    over_pcie = "pcie" in words and "sxm" in entries[best]
    return Device(best, OVER_PCIE.get(best, {}) if over_pcie else {})


def _device_words(name: str, memory_bytes: int | None) -> set[str]:
    """The words of a device's name; SXM4 is SXM, and a capacity that the name leaves out is from its memory."""
    text = re.sub(r"(rtx)(?=\d)", r"\1 ", name.lower())
    text = re.sub(r"(\d+) gb\b", r"\1gb", text)
    words = {re.sub(r"^sxm\d$", "sxm", word) for word in re.split(r"[^a-z0-9.]+", text) if word}
    if memory_bytes is not None and not any(word.endswith("gb") for word in words):
        sizes = (16, 32, 40, 80)
        words.add(f"{min(sizes, key=lambda size: abs(size * GIB - memory_bytes))}gb")
    return words


def _likeness(entry: set[str], words: set[str]) -> tuple[Any, ...]:
    """More words in common first, then variants in common, then none that contradict; SXM and 80 GB where all fit."""
    common, forms = entry & words, entry & FORM_WORDS
    return len(common - FORM_WORDS), len(common & FORM_WORDS), -len(forms - words), "sxm" in forms, "80gb" in forms
