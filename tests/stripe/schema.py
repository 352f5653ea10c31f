"""Stripe's schema, read at test time from the installed stripe-python, which is generated from Stripe's
OpenAPI.

Resources are classes whose annotations name fields and types; request parameters are TypedDicts of the same
kind. `problems(...)` answers what is wrong with a JSON value; an unknown field is as wrong as a wrong type.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from decimal import Decimal
from functools import cache
from types import ModuleType, UnionType
from typing import Any, ClassVar, ForwardRef, Literal, NotRequired, Required, Union, get_args, get_origin

import stripe
from stripe import ListObject, StripeObject
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import get_original_bases, is_typeddict

from credits_core.stripe_sim import forms


def resource(kind: str) -> type[StripeObject]:
    """The class of a Stripe object by its `object` value."""
    found = OBJECT_CLASSES[kind]
    return getattr(importlib.import_module(found[0]), found[1]) if isinstance(found, tuple) else found


@cache
def names_of(module: ModuleType) -> dict[str, Any]:
    """What annotations in a module may refer to, with the imports that only type checkers make."""
    names: dict[str, Any] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe"):
            source = importlib.import_module(node.module)
            names |= {alias.asname or alias.name: getattr(source, alias.name, None) for alias in node.names}
    return names | vars(module)


@cache
def fields(cls: type) -> dict[str, Any]:
    """Field names and resolved annotations of a resource class or a TypedDict."""
    found: dict[str, Any] = {}
    if is_typeddict(cls):
        # Its annotations hold those of its bases, which are options of a call, not parameters.
        inherited = {
            name for base in get_original_bases(cls) for name in getattr(base, "__annotations__", {})
        }
        own = {name: hint for name, hint in cls.__annotations__.items() if name not in inherited}
        return {name: resolve(hint, names_of(sys.modules[cls.__module__])) for name, hint in own.items()}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("stripe.") or base is StripeObject:
            continue
        scope = names_of(sys.modules[base.__module__]) | vars(base)
        found |= {
            name: resolve(hint, scope)
            for name, hint in inspect.get_annotations(base).items()
            if not name.startswith("_")
        }
    return {name: hint for name, hint in found.items() if get_origin(hint) is not ClassVar}


def resolve(hint: Any, scope: dict[str, Any]) -> Any:
    """The annotation with the names in its strings looked up."""
    if isinstance(hint, ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        return resolve(eval(hint, dict(scope)), scope)
    if get_origin(hint) in (None, Literal):
        return hint
    args = tuple(resolve(arg, scope) for arg in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return Union[args]  # noqa: UP007 - made from a list
    return get_origin(hint)[args if len(args) > 1 else args[0]]


def object_problems(body: Any, path: str = "") -> list[str]:
    """What is wrong with a Stripe object, by its own `object` field."""
    if body.get("object") == "list":
        return [p for i, item in enumerate(body["data"]) for p in object_problems(item, f"{path}[{i}]")]
    return class_problems(resource(body["object"]), body, path or body["object"])


def class_problems(cls: type, body: Any, path: str) -> list[str]:
    """What is wrong with a value that should be an object of that class."""
    if not isinstance(body, dict):
        return [f"{path}: {body!r} is not an object"]
    known = fields(cls)
    wrong = [f"{path}.{name}: Stripe has no such field" for name in body if name not in known]
    wrong += [
        f"{path}.{name}: missing" for name, hint in known.items() if name not in body and not optional(hint)
    ]
    for name in body.keys() & known.keys():
        wrong += problems(known[name], body[name], f"{path}.{name}")
    return wrong


def optional(hint: Any) -> bool:
    """Whether a field may be null or left out."""
    return get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint)


def problems(hint: Any, value: Any, path: str) -> list[str]:
    """What is wrong with a JSON value of that annotated type; empty when it fits."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return union_problems(args, value, path)
    if origin in (list,):
        if not isinstance(value, list):
            return [f"{path}: {value!r} is not a list"]
        return [p for i, item in enumerate(value) for p in problems(args[0], item, f"{path}[{i}]")]
    if origin is ListObject:
        ok = isinstance(value, dict) and value.get("object") == "list" and {"has_more", "url"} <= value.keys()
        return (
            problems(list[args[0]], value["data"], path)
            if ok
            else [f"{path}: {value!r} is not a list object"]
        )
    if origin in (UntypedStripeObject, dict):
        if not isinstance(value, dict):
            return [f"{path}: {value!r} is not a map"]
        return [p for name, item in value.items() for p in problems(args[-1], item, f"{path}.{name}")]
    if origin is Literal:
        return [] if value in args else [f"{path}: {value!r} is not one of {args}"]
    if hint is Any:
        return []
    if hint is Decimal:  # a decimal is a text in JSON
        return (
            []
            if isinstance(value, str) and Decimal(value).is_finite()
            else [f"{path}: {value!r} is no decimal"]
        )
    if hint in (int, bool, str, float, type(None)):
        right = type(value) is (type(None) if hint is type(None) else hint)
        return [] if right else [f"{path}: {value!r} is not {hint.__name__}"]
    assert inspect.isclass(hint) and issubclass(hint, StripeObject), f"{path}: cannot check {hint}"
    return class_problems(hint, value, path)


def union_problems(options: tuple[Any, ...], value: Any, path: str) -> list[str]:
    """A value fits a union when it fits one part. `Union[Literal[...], str]` is Stripe's open enumeration: we
    hold the simulator to the values that are listed."""
    listed = [option for option in options if get_origin(option) is Literal]
    if listed and str in options and isinstance(value, str):
        options = tuple(listed)
    attempts = [problems(option, value, path) for option in options]
    return min(attempts, key=lambda wrong: (len(wrong), -max(map(len, wrong), default=0)))


def params_problems(cls: type, spec: dict[str, Any], path: str) -> list[str]:
    """What is wrong with the simulator's description of an endpoint's parameters."""
    known, wrong = fields(cls), []
    for marked, kind in spec.items():
        name = marked.rstrip("!")
        if name not in known:
            wrong.append(f"{path}.{name}: Stripe has no such parameter")
        else:
            wrong += spec_problems(known[name], kind, f"{path}.{name}")
    for name, hint in known.items():  # what Stripe requires, we require
        if get_origin(hint) is not NotRequired and is_typeddict(cls) and name in cls.__required_keys__:
            wrong += [] if f"{name}!" in spec else [f"{path}.{name}: required by Stripe"]
    return wrong


def spec_problems(hint: Any, kind: Any, path: str) -> list[str]:
    """What is wrong with the simulator's type of one parameter."""
    if get_origin(hint) in (NotRequired, Required):
        return spec_problems(get_args(hint)[0], kind, path)
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(kind, tuple):
        values = {v for option in options if get_origin(option) is Literal for v in get_args(option)}
        return [f"{path}: Stripe does not take {v!r}" for v in kind if v not in values]
    if isinstance(kind, dict):
        found = [option for option in options if is_typeddict(option)]
        return params_problems(found[0], kind, path) if found else [f"{path}: not an object at Stripe"]
    if isinstance(kind, list):
        items = [get_args(option)[0] for option in options if get_origin(option) is list]
        return spec_problems(items[0], kind[0], f"{path}[]") if items else [f"{path}: not a list at Stripe"]
    if kind is forms.METADATA:
        return (
            [] if any(get_origin(option) is dict for option in options) else [f"{path}: not a map at Stripe"]
        )
    text = kind is str and any(get_origin(option) is Literal for option in options)
    return [] if kind in options or text else [f"{path}: not {kind.__name__} at Stripe but {hint}"]


EVENT_TYPES = frozenset(get_args(fields(stripe.Event)["type"]))
