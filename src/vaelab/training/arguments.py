"""Compare a config's plain values with the types that a constructor's signature declares."""

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["declared_types", "mismatch"]

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
UNIONS = (Union, types.UnionType)
ITEMS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)


@cache
def declared_types(target: Callable[..., Any]) -> Mapping[str, Any]:
    """The types of the arguments of ``target`` by name; empty where they can't be told."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters.values()
    except Exception:  # a name that exists for type checkers alone, or a target without a signature
        return {}
    return {
        parameter.name: parameter.annotation
        for parameter in parameters
        if parameter.annotation is not parameter.empty
    }


def mismatch(value: Any, declared: Any) -> str | None:
    """What a plain value must be, to follow "must be"; None if it fits the declared type.

    A type that has no plain values, such as a class of ours, accepts anything beside other types: its own
    constructor checks it. A number must be finite.

    >>> mismatch("a", int | None)
    'a whole number or null'
    >>> mismatch([0.9, 0.99], tuple[float, float])
    """
    if _fits(value, declared):
        return None
    names = list(dict.fromkeys(_names(declared)))
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _alternatives(declared: Any) -> list[Any]:
    if get_origin(declared) in UNIONS:
        return [part for option in get_args(declared) for part in _alternatives(option)]
    return [declared]


def _fits(value: Any, declared: Any) -> bool:
    return any(_fits_one(value, option) for option in _alternatives(declared))


def _fits_one(value: Any, declared: Any) -> bool:
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if declared in (bool, str, type(None)):
        return isinstance(value, declared)
    if declared in (int, float):
        number = isinstance(value, int if declared is int else int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and (declared is float or abs(value) < 2**63)
    kind = origin or declared
    if kind in ITEMS:
        if not isinstance(value, list):
            return False
        if kind is tuple and arguments and arguments[-1] is not ...:
            return len(value) == len(arguments) and all(map(_fits, value, arguments))
        return not arguments or all(_fits(item, arguments[0]) for item in value)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    # another class: only its own nodes, which are built before, or what its constructor makes of text
    return not _is_plain(value) or kind in (Any, object) or not isinstance(kind, type)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | Mapping)


def _names(declared: Any) -> list[str]:
    """The names of the alternatives that have plain values."""
    names = []
    for option in _alternatives(declared):
        origin, arguments = get_origin(option), get_args(option)
        kind = origin or option
        if origin is Literal:
            names += [str(value).lower() for value in arguments]
        elif option in NAMES:
            names.append(NAMES[option])
        elif kind in ITEMS:
            size = len(arguments) if kind is tuple and arguments and arguments[-1] is not ... else None
            of = _names(arguments[0]) if arguments else []
            names.append(f"a list{f' of {size}' if size else ''}{f', each {of[0]}' if of else ''}")
        elif kind in (dict, Mapping):
            names.append("a mapping")
        elif isinstance(kind, type):
            names.append(f"a node of a {kind.__name__}")
    return names
