"""What ships: models, accelerators and engine presets, one YAML file each, found by file name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from sim.errors import InputError, did_you_mean
from sim.specs.yaml_file import parse_yaml, read_mapping

Kind = Literal["models", "accelerators", "engines"]


def names(kind: Kind) -> list[str]:
    """The names a config may use for this kind, sorted."""
    folder = resources.files(__name__).joinpath(kind)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def entry(kind: Kind, name: str, field: str) -> dict[str, Any]:
    """The catalogue file `name`; an unknown name is refused under the config `field` it came from."""
    if name not in names(kind):
        raise InputError(f"{field}: '{name}' is not in the catalogue; {did_you_mean(name, names(kind))}")
    file = resources.files(__name__).joinpath(kind, f"{name}.yaml")
    value: dict[str, Any] = parse_yaml(file.read_text(encoding="utf-8"), file.name)
    return value


def is_path(reference: str) -> bool:
    """Whether a reference to a description is a path, which has a slash or a file suffix, and not a catalogue name."""
    return "/" in reference or reference.endswith((".json", ".yaml", ".yml"))


def entry_or_file(kind: Kind, reference: str, field: str, folder: Path) -> tuple[dict[str, Any], str]:
    """A catalogue entry by name, or the mapping in a file by path (relative to `folder`, then to here).

    Returns the mapping and where it came from.
    """
    if not is_path(reference):
        return entry(kind, reference, field), f"catalogue {kind}/{reference}"
    path = find_file(reference, field, folder, hint=f", or use a catalogue name ({', '.join(names(kind))})")
    return read_mapping(path), str(path)


def find_file(reference: str, field: str, folder: Path, hint: str = "") -> Path:
    """The file a config names: beside the config, else below the current folder; `hint` ends the message if neither."""
    candidates = [folder / reference, Path(reference)]
    try:
        for path in candidates:
            if path.is_file():
                return path.resolve()
    except (OSError, ValueError) as error:
        raise InputError(f"{field}: not a usable path ({error}); correct it") from None
    tried = " or ".join(dict.fromkeys(str(path) for path in candidates))
    raise InputError(
        f"{field}: no file at {tried}; paths are relative to the config file, then to the current folder{hint}"
    )
