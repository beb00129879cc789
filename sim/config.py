"""From a YAML file to an Experiment: overrides, catalogue names, the preset's defaults, memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.accelerator import ASSUMED, AcceleratorSpec
from sim.specs.base import Spec
from sim.specs.cost import PHYSICAL, CostSpec, KernelsCost, RooflineCost
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment
from sim.specs.hf_config import model_from_hf
from sim.specs.memory import plan_memory
from sim.specs.model import ModelSpec
from sim.specs.presets import complete_engine, derive_values, own_name
from sim.specs.speculative_config import SPECULATIVE_CONFIG, drafts_in_our_words
from sim.specs.validation import SpecT, validate, written
from sim.specs.workload import ClosedLoop, ShareGptLengths, TraceSpec, WorkloadSpec
from sim.specs.yaml_file import parse_yaml, read_mapping


def _check_key(key: str) -> str:
    if "=" in key or not all(key.split(".")):
        raise ValueError(f"got {written(key)}, must be a key such as engine.preset; correct it or drop the line")
    return key


def _check_values(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("got [], must be a list of at least one value; add some or drop the line")
    if any(value in values[:index] for index, value in enumerate(values)):
        raise ValueError(f"got {written(values)}, which lists a value twice; drop one")
    return values


class VariedKeys(Spec):
    """What an experiment file says to sweeps alone: dotted keys of itself, and the values each takes."""

    vary: dict[Annotated[str, AfterValidator(_check_key)], Annotated[list[Any], AfterValidator(_check_values)]] = Field(
        default_factory=dict
    )


class ConfigFile(VariedKeys):
    """The experiment file as people write it: names and paths still unresolved, engine values still partial."""

    name: str = ""
    model: str | dict[str, Any]
    accelerator: str | dict[str, Any]
    engine: dict[str, Any] = Field(default_factory=dict)
    cost: CostSpec = Field(default_factory=KernelsCost)
    workload: WorkloadSpec
    slo: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("cost", mode="before")
    @classmethod
    def _kind_by_its_constants(cls, cost: Any) -> Any:
        """A mapping that names only constants of the kernels means them; likewise of the roofline."""
        if isinstance(cost, dict) and "kind" not in cost:
            for spec in (KernelsCost, RooflineCost):
                if cost.keys() <= spec.model_fields.keys():
                    return {"kind": spec.model_fields["kind"].default, **cost}
        return cost


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment in the YAML file at `path`, with `key.path=value` overrides applied.

    Raises InputError naming the field, its value, what is allowed and the remedy.
    """
    path = Path(path)
    name_from_file = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.")
    data = read_experiment(path, overrides)
    experiment = experiment_from(data, folder=path.parent, default_name=name_from_file or "experiment")
    return experiment.model_copy(update={"read_from": (str(path), *_description_files(data, path.parent))})


def _description_files(data: dict[str, Any], folder: Path) -> Iterator[str]:
    """The files in which `data` has its model and accelerator described."""
    for key in ("model", "accelerator"):
        if isinstance(data[key], str) and catalogue.is_path(data[key]):
            yield str(catalogue.find_file(data[key], key, folder))
    engine = data.get("engine") or {}
    if isinstance(preset := engine.get("preset"), str) and catalogue.is_path(preset):
        yield str(catalogue.find_file(preset, "engine.preset", folder))
    key, speculation = _drafts_in(engine)
    draft = speculation.get("model") if isinstance(speculation, dict) else None
    if isinstance(draft, str) and catalogue.is_path(draft):
        yield str(catalogue.find_file(draft, f"engine.{key}.model", folder))


def read_experiment(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The content of the experiment file at `path` with overrides applied, not yet validated."""
    data = read_mapping(path)
    for override in overrides:
        apply_override(data, override)
    return data


def read_vary(path: Path, overrides: Iterable[str] = ()) -> dict[str, list[Any]]:
    """The keys that the experiment file at `path` varies, and their values."""
    return validate(VariedKeys, {"vary": read_experiment(path, overrides).get("vary", {})}).vary


def experiment_from(data: dict[str, Any], folder: Path = Path(), default_name: str = "experiment") -> Experiment:
    """The experiment that `data` (the content of an experiment file) describes; paths are relative to `folder`."""
    config = _validate_one_run(data)
    model, accelerator = load_model(config.model, folder), load_accelerator(config.accelerator, folder)
    _check_cost(config.cost, model, accelerator)  # before memory, whose remedies are of no use to such a model
    return _complete(config, model, accelerator, folder, default_name)


def untimed_experiment_from(data: dict[str, Any], folder: Path, default_name: str) -> Experiment:
    """As `experiment_from`, for who simulates nothing: the cost model need not be able to time this model."""
    config = _validate_one_run(data)
    model, accelerator = load_model(config.model, folder), load_accelerator(config.accelerator, folder)
    return _complete(config, model, accelerator, folder, default_name)


def _validate_one_run(data: dict[str, Any]) -> ConfigFile:
    """The file's content, unless it describes several runs."""
    config = validate(ConfigFile, data)
    if config.vary:
        raise InputError(
            f"vary: got values of {', '.join(config.vary)} for servesim sweep to go through, where a single experiment "
            f"is wanted; use servesim sweep, or --set vary={{}} and --set {next(iter(config.vary))}=VALUE"
        )
    return config


def _complete(
    config: ConfigFile, model: ModelSpec, accelerator: AcceleratorSpec, folder: Path, default_name: str
) -> Experiment:
    """With every engine value filled in and memory divided up."""
    given, draft_notes = _load_drafts(config.engine, folder)
    engine, notes = complete_engine(given, accelerator, folder)
    engine = derive_values(engine, given, model, accelerator)
    _check_drafts(engine, model, accelerator, config.cost)
    engine, memory, memory_notes = plan_memory(engine, model, accelerator)
    _check_combinations(engine, config)
    return validate(
        Experiment,
        {
            "name": config.name or default_name,
            "model": model,
            "accelerator": accelerator,
            "engine": engine,
            "cost": config.cost,
            "workload": _locate_files(config.workload, folder),
            "slo": config.slo,
            "seed": config.seed,
            "memory": memory,
            "notes": (*draft_notes, *notes, *memory_notes, *_notes(engine, accelerator, config)),
        },
    )


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one value in place from `engine.max_num_seqs=128`; the value is read as YAML.

    It replaces what an engine key has under another of its names (`engine.order` and `scheduling_policy`).
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(f"--set '{override}': must be KEY=VALUE such as engine.max_num_seqs=128")
    *sections, leaf = key.split(".")
    target = data
    for depth, section in enumerate(sections):
        inner = target.setdefault(section, {})
        if not isinstance(inner, dict):
            place = ".".join(sections[: depth + 1])
            raise InputError(f"--set '{override}': {place} is {inner!r}, not a section; set {place} itself")
        target = inner
    if sections == ["engine"]:
        _drop_key(target, leaf)
    target[leaf] = parse_yaml(text, f"--set '{override}'")


def _drop_key(engine: dict[str, Any], key: str) -> None:
    """Take out of an engine section what it says of a key, under whichever name, and a rule in its place."""
    preset = engine.get("preset")
    reference = preset if isinstance(preset, str) else None
    ours = own_name(key, reference)
    for name in [name for name in engine if own_name(name, reference) == ours]:
        del engine[name]
    if isinstance(engine.get("own_rules"), dict):
        engine["own_rules"].pop(ours, None)


def load_model(reference: str | dict[str, Any], folder: Path = Path(), field: str = "model") -> ModelSpec:
    """A model by catalogue name, by path (a Hugging Face config.json or a YAML of ours), or as a mapping."""
    if isinstance(reference, dict):
        return validate(ModelSpec, reference, field)
    data, source = catalogue.entry_or_file("models", reference, field, folder)
    if "model_type" in data or "architectures" in data or "hidden_size" not in data:
        return model_from_hf(data, _model_name(reference), source, _quantization_beside(Path(source)))
    return _validate_file(ModelSpec, data, field, source)


def _quantization_beside(path: Path) -> dict[str, Any] | None:
    """NVIDIA ModelOpt's file beside a config.json (or beside a renamed one), if there is one."""
    for beside in (path.with_name("hf_quant_config.json"), path.with_suffix(".hf_quant.json")):
        if beside.is_file():
            return read_mapping(beside)
    return None


def _model_name(reference: str) -> str:
    """A config.json is named by its folder, any other file by itself."""
    path = Path(reference)
    return path.resolve().parent.name if path.stem == "config" else path.stem


def load_accelerator(reference: str | dict[str, Any], folder: Path = Path()) -> AcceleratorSpec:
    """An accelerator by catalogue name, by path to a YAML file, or as a mapping."""
    if isinstance(reference, dict):
        return validate(AcceleratorSpec, reference, "accelerator")
    data, source = catalogue.entry_or_file("accelerators", reference, "accelerator", folder)
    return _validate_file(AcceleratorSpec, data, "accelerator", source)


def _validate_file(spec: type[SpecT], data: dict[str, Any], field: str, source: str) -> SpecT:
    """Validate the content of a description file; an error says which file it is in."""
    try:
        return validate(spec, data, field)
    except InputError as error:
        raise InputError(f"{error} (in {source})") from None


def _drafts_in(engine: dict[str, Any]) -> tuple[str, Any]:
    """The key under which an engine section speaks of drafts, and what it says."""
    for key, value in engine.items():
        if own_name(key) == "speculation":
            return key, value
    return "speculation", None


def _load_drafts(engine: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The section with a `speculative_config` in our words and a draft model's description in place of its name."""
    notes: list[str] = []
    key, said = _drafts_in(engine)
    if key == SPECULATIVE_CONFIG:
        said, notes = drafts_in_our_words(said, engine.get("tensor_parallel_size", 1))
    if isinstance(said, dict) and isinstance(said.get("model"), str | dict):
        said = said | {"model": load_model(said["model"], folder, f"engine.{key}.model")}
    return (engine | {key: said} if key in engine else engine), notes


def _check_drafts(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec, cost: CostSpec) -> None:
    """Drafts are tokens of the model that checks them, and whoever makes them can be timed."""
    if engine.speculation is not None and cost.kind == "per_request":
        raise InputError(
            "engine.speculation: with cost kind per_request a request takes its whole service time however it gets its "
            "tokens; set it to null or choose another cost kind"
        )
    draft = engine.draft_model
    if draft is None:
        return
    _check_cost(cost, draft, accelerator)
    if draft.vocab_size != model.vocab_size:  # vLLM refuses it as well
        entries = {name: catalogue.entry("models", name, "model") for name in catalogue.names("models")}
        alike = [load_model(name) for name, entry in entries.items() if entry["vocab_size"] == model.vocab_size]
        able = [other.name for other in alike if other.weight_bytes < model.weight_bytes]
        raise InputError(
            f"engine.speculation.model: {draft.name} has a vocabulary of {draft.vocab_size} tokens, must have the "
            f"{model.vocab_size} of {model.name}, which verifies its drafts; use a smaller model of that vocabulary"
            + (f" ({', '.join(able)})" if able else "")
        )


def _check_combinations(engine: EngineSpec, config: ConfigFile) -> None:
    if config.cost.kind == "per_request" and engine.max_num_seqs != 1:
        raise InputError(
            f"engine.max_num_seqs: got {engine.max_num_seqs}, must be 1 with cost kind per_request, which serves one "
            "request at a time; set it to 1 or choose another cost kind"
        )
    budget = engine.max_num_batched_tokens
    limits_prompts = not engine.enable_chunked_prefill and engine.composition != "prefill_until_full"
    if limits_prompts and budget is not None and budget < engine.longest_sequence_tokens:
        raise InputError(
            f"engine.max_num_batched_tokens: {budget} with enable_chunked_prefill false could never run a prompt of "
            f"max_model_len {engine.longest_sequence_tokens} tokens; raise it to that, lower max_model_len, or "
            + ("choose preset vllm-v0-chunked" if engine.composition == "prefill_first" else "switch chunking on")
        )
    chunk = engine.long_prefill_token_threshold
    if engine.composition == "rounds" and budget is not None and budget < min(engine.longest_sequence_tokens, chunk):
        raise InputError(
            f"engine.max_num_batched_tokens: {budget} could never start a prompt of {chunk} tokens, the chunk that "
            "long_prefill_token_threshold says; raise it to that, or lower the chunk"
        )


def _check_cost(cost: CostSpec, model: ModelSpec, accelerator: AcceleratorSpec) -> None:
    """Physics needs a peak for the model's type, and the textbook an architecture of the textbook's."""
    if cost.kind not in PHYSICAL:
        return
    if cost.kind == "roofline" and model.beyond_the_roofline:
        raise InputError(
            f"cost.kind: roofline cannot time {model.beyond_the_roofline}, which {model.name} has; use cost kind "
            "kernels, or a dense model in 16 bit"
        )
    peaks = accelerator.peak_flop_per_s
    if model.dtype not in peaks:
        raise InputError(
            f"accelerator.peak_flop_per_s: {accelerator.name} has {', '.join(peaks) or 'no peaks'}, but not "
            f"{model.dtype}, which {model.name} computes in; choose another accelerator or, as its "
            "config.json with another torch_dtype, the model in another type, or add that peak"
        )


def _notes(engine: EngineSpec, accelerator: AcceleratorSpec, config: ConfigFile) -> Iterator[str]:
    """What a reader should know although nothing is wrong."""
    yield from _notes_on_order(engine, config.workload)
    if config.workload.conversations is not None and not isinstance(config.workload.arrivals, ClosedLoop):
        yield (
            "workload.conversations: after the last one has begun, those under way only finish; throughput is of the "
            "whole run, that end included, and so are the percentiles of a single run"
        )
    for key in ("swap_space_gib", "num_cpu_blocks") if engine.preemption_mode != "swap" else ():
        value = getattr(engine, key)
        if value != EngineSpec.model_fields[key].default:
            yield f"engine.{key} {value:g} has no effect while preemption_mode is {engine.preemption_mode}"
    if engine.draft_model is not None:
        yield from _notes_on_drafting(engine.draft_model, engine.resolved_max_model_len, config.cost)
    if config.cost.kind in PHYSICAL and accelerator.efficiency.source == ASSUMED:
        yield f"the efficiencies of {accelerator.name} are assumed, not fitted on measurements"


def _notes_on_order(engine: EngineSpec, workload: WorkloadSpec) -> Iterator[str]:
    """What requests say of themselves that the order does not ask; of the user's own we cannot know."""
    if "order" in engine.own_rules:
        return
    if workload.priorities is not None and engine.order != "priority":
        yield f"workload.priorities have no effect while engine.order is {engine.order}; set it to priority"
    if workload.output_predictor is not None and engine.order != "shortest_predicted":
        yield (
            f"workload.output_predictor has no effect on scheduling while engine.order is {engine.order}; "
            "set it to shortest_predicted"
        )
    if engine.order == "priority" and workload.priorities is None and workload.trace is None:
        yield "engine.order priority has no effect: every request has priority 0; give workload.priorities"


def _notes_on_drafting(draft: ModelSpec, longest_tokens: int, cost: CostSpec) -> Iterator[str]:
    if cost.kind not in PHYSICAL:
        yield (
            f"cost kind {cost.kind} does not know {draft.name}: the time in which it drafts is taken to be part of the "
            "constants"
        )
    if longest_tokens > draft.max_position_embeddings:
        limit = draft.max_position_embeddings
        yield f"max_model_len {longest_tokens} is beyond the {limit} positions {draft.name} was made for"


def _locate_files(workload: WorkloadSpec, folder: Path) -> WorkloadSpec:
    """The paths in a workload made absolute; a file that does not exist is refused."""
    located: dict[str, Spec] = {}
    for key in ("trace", "lengths"):
        part = getattr(workload, key)
        if isinstance(part, TraceSpec | ShareGptLengths):
            path = catalogue.find_file(part.path, f"workload.{key}.path", folder)
            located[key] = part.model_copy(update={"path": str(path)})
    return workload.model_copy(update=located)
