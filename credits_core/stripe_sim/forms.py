"""Stripe's request bodies: form-encoded with brackets (`line_items[0][price_data][currency]=usd`) to typed
values."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from credits_core.stripe_sim.errors import StripeFault, required, unknown_parameter

METADATA = object()
"""Spec of a map of strings with Stripe's limits: 50 keys, names of 40 characters, values of 500."""

Spec = Any
"""`str`, `int`, `float`, `bool`, a tuple of the allowed texts, METADATA, `{name: spec}` for an object, `[spec]` for a
list."""

_SEGMENT = re.compile(r"\[([^\[\]]*)\]")
_MAX_FIELDS = 1000


def decode(text: str) -> dict[str, Any]:
    """Nested dicts of texts; numeric and empty brackets stay keys until the spec says that they are a list."""
    root: dict[str, Any] = {}
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(pairs) > _MAX_FIELDS:
        raise StripeFault("The request has too many parameters.")
    for key, value in pairs:
        name = key.split("[", 1)[0]
        path = [name, *_SEGMENT.findall(key[len(name) :])]
        node = root
        for part in path[:-1]:
            node = node.setdefault(part or str(len(node)), {})
            if not isinstance(node, dict):
                raise StripeFault(f"Invalid parameters: {key} is used twice.", param=key)
        node[path[-1] or str(len(node))] = value
    return root


def apply(spec: dict[str, Spec], raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The parameters as the spec types them; unknown, missing (`name!` in the spec) or malformed ones are
    400."""
    names = {name.rstrip("!"): name for name in spec}
    for name in raw:
        if name not in names:
            raise unknown_parameter(_joined(prefix, name))
    for name, marked in names.items():
        if marked.endswith("!") and raw.get(name) in (None, ""):
            raise required(_joined(prefix, name))
    return {name: _cast(spec[names[name]], value, _joined(prefix, name)) for name, value in raw.items()}


def _cast(spec: Spec, value: Any, path: str) -> Any:
    if isinstance(spec, dict):
        return apply(spec, _mapping(value, path), path)
    if isinstance(spec, list):
        items = _mapping(value, path) if value != "" else {}
        return [_cast(spec[0], item, f"{path}[{index}]") for index, item in enumerate(items.values())]
    if spec is METADATA:
        return _metadata(value, path)
    if not isinstance(value, str):
        raise StripeFault("Invalid string: a single value is wanted.", param=path)
    if isinstance(spec, tuple):
        if value not in spec:
            raise StripeFault(
                f"Invalid {path}: must be one of {', '.join(spec[:-1])}, or {spec[-1]}", param=path
            )
        return value
    if spec is int:
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise StripeFault(f"Invalid integer: {value[:80]}", code="parameter_invalid_integer", param=path)
        return int(value)
    if spec is float:
        if not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value):
            raise StripeFault(f"Invalid decimal: {value[:80]}", param=path)
        return float(value)
    if spec is bool:
        if value not in ("true", "false"):
            raise StripeFault(f"Invalid boolean: {value[:80]}", param=path)
        return value == "true"
    if len(value) > 5000:
        raise StripeFault("Invalid string: at most 5000 characters are allowed.", param=path)
    return value


def _metadata(value: Any, path: str) -> dict[str, str]:
    if value == "":
        return {}
    items = _mapping(value, path)
    if len(items) > 50:
        raise StripeFault("Metadata can have at most 50 keys.", param=path)
    for name, text in items.items():
        if not isinstance(text, str) or len(name) > 40 or len(text) > 500:
            raise StripeFault("Metadata names have at most 40 characters, values at most 500.", param=path)
    return items


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StripeFault(
            f"Invalid object: {path} wants brackets.", code="parameter_invalid_object", param=path
        )
    return value


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}[{name}]" if prefix else name
