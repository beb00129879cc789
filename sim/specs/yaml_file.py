"""Reading YAML and JSON safely: no code can run, and numbers mean what they look like.

PyYAML follows YAML 1.1, where `1e-3` is text, `010` is 8, `1:30` is 90 and `2026-01-01` a date. The loader here knows
the types of JSON alone and reads numbers as YAML 1.2 does: `1e-3` and `312e12` are numbers, `010` is 10, `1:30` and
`2026-01-01` are text.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from sim.errors import InputError
from sim.specs.validation import written

_TAG = "tag:yaml.org,2002:"
_INT, _FLOAT = f"{_TAG}int", f"{_TAG}float"
_TYPES = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_RESOLVED = _TYPES - {_INT, _FLOAT} | {f"{_TAG}merge"}
MOST_DEPTH, MOST_VALUES = 50, 10**6
"""How deeply a description may be nested, and how many values it may hold, repetitions of an anchor included."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the types of JSON and YAML 1.2 numbers, refusing a key that is written twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _RESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012 - the base class's own attribute
        tag: construct for tag, construct in yaml.SafeLoader.yaml_constructors.items() if tag in _TYPES
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; PyYAML itself trips over a tag that does not suit what follows it (`!!bool foo`)."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            problem = f"{written(node.value)} is not a value of the type {node.tag.removeprefix(_TAG)}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a repeated key would silently lose one of the two values."""
        seen: set[str] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"key '{key_node.value}' is written twice; keep one"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _refuse_tag(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    tag = node.tag.replace(_TAG, "!!")
    raise yaml.MarkedYAMLError(problem=f"values of the type {tag} are not read", problem_mark=node.start_mark)


_NUMBER_STARTS = list("-+0123456789.")
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?[0-9][0-9_]*$"), _NUMBER_STARTS)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
            |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    _NUMBER_STARTS,
)
_Loader.add_constructor(_INT, _construct_int)
_Loader.add_constructor(None, _refuse_tag)


def parse_yaml(text: str, where: str) -> Any:
    """The value written in `text`; a syntax error names `where` and the line."""
    try:
        return _bounded(yaml.load(text, Loader=_Loader), where)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{where}{line}: not valid YAML: {error.problem}; correct the line") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: not valid YAML: {reason}; remove stray characters") from None
    except RecursionError:
        raise _too_deep(where) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at `path`, or in the JSON file if its name ends so."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); give a YAML file") from None
    value = _parse_json(text, path) if path.suffix == ".json" else parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {_kind(value)}, must be a mapping of names to values such as 'seed: 1'")
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{path}: key {key!r} is a {type(key).__name__}, must be a name; quote or correct it")
    return value


def dump_yaml(value: Any) -> str:
    """`value` as YAML, keys in their own order."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _parse_json(text: str, path: Path) -> Any:
    try:
        return _bounded(json.loads(text), str(path))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}; correct the file") from None
    except RecursionError:
        raise _too_deep(str(path)) from None


def _bounded(value: Any, where: str) -> Any:
    """The value, unless it is so deep, or by its anchors so large, that whoever reads or prints it would fail."""
    pending, seen = [(value, 0)], 0
    while pending:
        inner, depth = pending.pop()
        seen += 1
        if depth > MOST_DEPTH:
            raise _too_deep(where)
        if seen > MOST_VALUES:
            raise InputError(f"{where}: holds more than {MOST_VALUES:,} values; write fewer, or repeat anchors less")
        if isinstance(inner, dict):
            pending.extend((item, depth + 1) for item in inner.values())
        elif isinstance(inner, list):
            pending.extend((item, depth + 1) for item in inner)
    return value


def _too_deep(where: str) -> InputError:
    return InputError(f"{where}: not usable as YAML or JSON: nested more than {MOST_DEPTH} deep; flatten it")


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
