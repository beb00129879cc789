"""Turning a mapping into a description, and what pydantic reports into messages people can act on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sim.errors import InputError, did_you_mean

SpecT = TypeVar("SpecT", bound=BaseModel)


def validate(spec: type[SpecT], data: Any, field: str = "") -> SpecT:
    """`data` as a `spec`; the first thing wrong becomes an InputError that names its place below `field`."""
    try:
        return spec.model_validate(data)
    except ValidationError as error:
        raise InputError(_describe(spec, dict(error.errors(include_url=False)[0]), field)) from None


def _describe(spec: type[BaseModel], error: dict[str, Any], field: str) -> str:
    location = error["loc"]
    place = _path(spec, location, field)
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = {key for candidate in _specs_at(spec, location[:-1]) for key in candidate.model_fields}
        return f"{place}: unknown key; {did_you_mean(str(location[-1]), known)}"
    if kind == "missing":
        return f"{place}: missing; add it"
    if kind == "union_tag_not_found":
        return f"{place}: {_written(value)} does not say which kind it is; add {error['ctx']['discriminator']}: NAME"
    if kind == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in error["ctx"]["expected_tags"].split(",")]
        key = error["ctx"]["discriminator"].strip("'")
        return f"{place}.{key}: '{error['ctx']['tag']}' is unknown; {did_you_mean(error['ctx']['tag'], tags)}"
    if kind == "literal_error" and error["ctx"]["expected"] == "False":
        return f"{place}: {value!r} is not modelled yet; set it to false"
    if kind == "value_error":
        return f"{place}: {error['ctx']['error']}"
    requirement = error["msg"].replace("Input should be", "must be")
    return f"{place}: got {_written(value)}, {requirement}; correct the value or drop the line to use the default"


def _written(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _path(spec: type[BaseModel], location: tuple[Any, ...], field: str) -> str:
    """The dotted path as the user wrote it: without the tags pydantic inserts for unions."""
    parts = [field] if field else []
    for depth, part in enumerate(location):
        keys = {key for candidate in _specs_at(spec, location[:depth]) for key in candidate.model_fields}
        is_tag = not keys.isdisjoint({"distribution", "process", "kind"}) and part not in keys
        if depth == len(location) - 1 or not (is_tag or part in ("independent", "joint")):
            parts.append(str(part))
    return ".".join(parts)


def _specs_at(spec: type[BaseModel], location: tuple[Any, ...]) -> list[type[BaseModel]]:
    """The descriptions that may stand at `location`: one, or every member of a union whose tag is not known."""
    candidates = [spec]
    for part in location:
        named = [c for c in candidates if part in c.model_fields]
        if named:
            candidates = [
                s for c in named for s in _specs_in(c.model_fields[part].annotation, c.model_fields[part].metadata)
            ]
            continue
        tagged = [c for c in candidates if part in _tags(c)]
        candidates = tagged or candidates
    return candidates


def _specs_in(annotation: Any, metadata: Any = ()) -> Iterator[type[BaseModel]]:
    """Every description named anywhere inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _specs_in(inner)


def _tags(spec: type[BaseModel]) -> set[Any]:
    """The literal values that select this member of a union."""
    keys = ("distribution", "process", "kind")
    return {tag for key in keys if key in spec.model_fields for tag in get_args(spec.model_fields[key].annotation)}
