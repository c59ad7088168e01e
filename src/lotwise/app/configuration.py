"""The settings in force, and where each value came from; or all that is wrong with them.

Laws: the command line is above the environment, the environment above the file, the file above the
preset; an unknown key or a bad value is an error that says where it stands and what would be right.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from lotwise.app.presets import (
    ENV_DELIMITER,
    ENV_PREFIX,
    BadSettings,
    Fault,
    KeyPath,
    Layer,
    read_layers,
)
from lotwise.app.settings import DEFAULT_BASES, Settings
from lotwise.domain.values import BadField, plain


def _fields(model: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in model.model_fields.items():
        yield (*above, name), info
        if isinstance(info.annotation, type(BaseModel)):
            yield from _fields(info.annotation, (*above, name))


_FIELDS = dict(_fields(Settings))
SECTIONS = {path: info for path, info in _FIELDS.items() if isinstance(info.annotation, type(BaseModel))}
KEYS = {path: info for path, info in _FIELDS.items() if path not in SECTIONS}
"""Every key below its sections, in the order of the documentation."""


def load_settings(config: Path | None, preset: str | None, overrides: Mapping[str, Any]) -> Settings:
    """The settings in force: `overrides` (options by dotted key, None where not given) over the
    environment, the file and the preset. Raises BadSettings with all that is wrong."""
    return load_with_origins(config, preset, overrides)[0]


def load_with_origins(
    config: Path | None, preset: str | None, overrides: Mapping[str, Any]
) -> tuple[Settings, dict[KeyPath, str]]:
    """The settings in force, and for each key the place that its value comes from."""
    layers, faults = read_layers(config, preset, overrides, KEYS)
    known = []
    for layer in layers:
        values, unknown = _sift(layer.values)
        faults += [Fault(layer.place(path), ".".join(path), _no_key(path, layer)) for path in unknown]
        known.append(layer._replace(values=values))
    try:
        settings = Settings.model_validate({"layers": known})
    except ValidationError as error:
        faults += _faults(error, known)
    if faults:
        raise BadSettings(*faults)
    return settings, {path: _place(path, known) for path in KEYS}


def _sift(values: dict[str, Any], above: KeyPath = ()) -> tuple[dict[str, Any], list[KeyPath]]:
    """The values that have a key, and the paths of those that have none or are no section."""
    known: dict[str, Any] = {}
    unknown: list[KeyPath] = []
    for name, value in values.items():
        path = (*above, name)
        if path in SECTIONS and isinstance(value, dict):
            known[name], deeper = _sift(value, path)
            unknown += deeper
        elif path in KEYS:
            known[name] = value
        else:
            unknown.append(path)
    return known, unknown


def _no_key(path: KeyPath, layer: Layer) -> str:
    """The nearest key by its whole path, or by its own name in another section."""
    name = ".".join(path).removeprefix(ENV_PREFIX)
    written = tuple(name.lower().replace(ENV_DELIMITER, ".").split("."))
    if written in SECTIONS:
        return f"a section; set its keys one by one, such as {layer.spell(_first_key(written))}"
    keys = {".".join(key).lower(): key for key in (*KEYS, *SECTIONS)}
    names = {key[-1].lower(): key for key in keys.values()}
    if close := get_close_matches(".".join(written), keys, n=1, cutoff=0.8):
        return f"unknown key; did you mean {layer.spell(keys[close[0]])}?"
    if close := get_close_matches(written[-1], names, n=1):
        return f"unknown key; did you mean {layer.spell(names[close[0]])}?"
    return "unknown key; `lotwise config show` lists all"


def _place(path: KeyPath, layers: list[Layer]) -> str:
    return next((layer.place(path) for layer in layers if layer.holds(path)), "default")


def _faults(error: ValidationError, layers: list[Layer]) -> Iterator[Fault]:
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called":
            continue  # pairs wait for the stake currency, whose own fault is listed
        inside = item["loc"]
        path = tuple(str(part) for part in inside if not isinstance(part, int))
        index = "".join(f"[{part}]" for part in inside if isinstance(part, int))
        yield Fault(_place(path, layers), ".".join(path) + index, _problem(item, path))


def _problem(item: ErrorDetails, path: KeyPath) -> str:
    """What is wrong with a value, then what would be right."""
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, BadField):
        problem = cause.problem
    elif isinstance(cause, ValueError):
        problem = str(cause)
    else:
        problem = f"{_shown(item['input'])} {re.sub('^[A-Z][a-z]+ should', 'must', item['msg'])}"
    return f"{problem} ({unit(path)}; default {default_text(path)})"


def _shown(value: Any) -> str:
    text = plain(value) if isinstance(value, Decimal) and value.is_finite() else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _first_key(section: KeyPath) -> KeyPath:
    return next(path for path in KEYS if path[: len(section)] == section)


def unit(path: KeyPath) -> str:
    """In what a key is counted, or which words it takes."""
    extra = KEYS[path].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["unit"])


def default_text(path: KeyPath) -> str:
    """The default of a key as a file would hold it, pairs aside, which follow the stake currency."""
    default = KEYS[path].default
    if default is PydanticUndefined:
        return f"{' '.join(DEFAULT_BASES)} in the stake currency"
    return json.dumps(default) if isinstance(default, bool) else str(default)
