"""Turning a mapping into a description, and what pydantic reports into messages people can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sim.errors import InputError, did_you_mean

SpecT = TypeVar("SpecT", bound=BaseModel)

_KIND_KEYS = ("distribution", "process", "kind")
_UNION_LABELS = ("[key]", "str", "dict[str,any]")
_HAS_TAGS = {"of each": False, "of both": True}
"""Labels of the members of a union that have tags, and of those that have none."""
_REQUIREMENTS = {
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
    "dict_type": "must be a mapping of names to values",
    "string_type": "must be text",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}


def validate(spec: type[SpecT], data: Any, field: str = "") -> SpecT:
    """`data` as a `spec`; the first thing wrong becomes an InputError that names its place below `field`."""
    try:
        return spec.model_validate(data)
    except ValidationError as error:
        raise InputError(_describe(spec, dict(error.errors(include_url=False)[0]), field)) from None


def _describe(spec: type[BaseModel], error: dict[str, Any], field: str) -> str:
    """One line: the place as the user wrote it, the value, what is allowed, the remedy."""
    parts, candidates = _walk(spec, error["loc"])
    place = ".".join([field, *parts] if field else parts)
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        _, owners = _walk(spec, error["loc"][:-1])
        known = {key for owner in owners for key in owner.model_fields}
        return f"{place}: unknown key; {did_you_mean(parts[-1], known)}"
    if kind == "missing":
        return f"{place}: missing; add it"
    if kind == "union_tag_not_found":
        kinds = sorted(tag for candidate in candidates for tag in _tags(candidate))
        return (
            f"{place}: {written(value)} does not say which kind; add {context['discriminator']}: {' or '.join(kinds)}"
        )
    if kind == "union_tag_invalid":
        key, tags = context["discriminator"].strip("'"), _quoted(context["expected_tags"])
        return f"{place}.{key}: '{context['tag']}' is unknown; {did_you_mean(context['tag'], tags)}"
    if kind == "literal_error" and context["expected"] == "False":
        return f"{place}: {value!r} is not modelled yet; set it to false"
    if kind == "literal_error":
        return f"{place}: got {written(value)}; {did_you_mean(str(value), _quoted(context['expected']))}"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    requirement = _REQUIREMENTS.get(kind, error["msg"].replace("Input should be", "must be"))
    default = " or drop the line to use the default" if _has_default(spec, error["loc"]) else ""
    return f"{place}: got {written(value)}, {requirement}; correct the value{default}"


def _quoted(text: str) -> list[str]:
    """The words pydantic puts in quotes: the choices."""
    return re.findall(r"'([^']*)'", text)


def written(value: Any) -> str:
    """A value as it stands in a message: what is long is cut."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _walk(spec: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[str], list[type[BaseModel]]]:
    """The path as the user wrote it, without the labels pydantic adds for unions, and what may stand at its end."""
    parts: list[str] = []
    candidates = [spec]
    for part in location:
        owners = [candidate for candidate in candidates if part in candidate.model_fields]
        members = [candidate for candidate in candidates if part == candidate.__name__ or part in _tags(candidate)]
        if owners:
            candidates = [inner for owner in owners for inner in _specs_in(owner.model_fields[part].annotation)]
            parts.append(str(part))
        elif members:
            candidates = members
        elif part in _HAS_TAGS:
            candidates = [candidate for candidate in candidates if bool(_tags(candidate)) == _HAS_TAGS[part]]
        elif isinstance(part, int):
            parts.append(str(part))
        elif part not in _UNION_LABELS:
            candidates = []
            parts.append(str(part))
    return parts, candidates


def _has_default(spec: type[BaseModel], location: tuple[Any, ...]) -> bool:
    _, owners = _walk(spec, location[:-1])
    fields = [owner.model_fields[location[-1]] for owner in owners if location[-1] in owner.model_fields]
    return any(not field.is_required() for field in fields)


def _specs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every description named anywhere inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _specs_in(inner)


def _tags(spec: type[BaseModel]) -> set[Any]:
    """The literal values that select this member of a union."""
    kinds = (spec.model_fields[key].annotation for key in _KIND_KEYS if key in spec.model_fields)
    return {tag for annotation in kinds for tag in get_args(annotation)}
