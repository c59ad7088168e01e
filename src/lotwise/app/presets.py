"""Raw values before any check: presets, and the file, environment and options that lie above them.

Laws: a number stays as exact as it was written; every value can say where it stands. What the keys
mean is told by `settings` alone.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from lotwise.app.terminal import Problem

DEFAULT_FILES = ("config.json", "lotwise.toml")
DEFAULT_PRESET = "micro"
ENV_PREFIX, ENV_DELIMITER = "LOTWISE__", "__"
MAX_FILE_CHARACTERS = 1_000_000

KeyPath = tuple[str, ...]
"""A key below its sections: ("sizing", "reserve")."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What the preset is for, and its values as a file would hold them."""

    about: str
    values: dict[str, Any] = field(default_factory=dict)


SMALL: Mapping[str, Any] = {
    "dry_run_wallet": "50",
    "max_open_trades": 2,
    "sizing": {"max_order_size_usdt": "25"},
    "rules": {"rules_on": "latest", "fees_on": "latest"},
}

PRESETS: Mapping[str, Preset] = {
    "micro": Preset(
        "2.86 USDT on five pairs under the rules and fees of July 2025, with tier floors of 2.50: the "
        "defaults of every key. An example of trading with almost nothing, not a profitable strategy."
    ),
    "small": Preset(
        "50 USDT under the latest known rules and fees, up to 25 an order and two open trades. An example "
        "too.",
        dict(SMALL),
    ),
    **{
        stake.lower(): Preset(
            f"The same in {stake}: 50 {stake} on {stake} pairs.", {**SMALL, "stake_currency": stake}
        )
        for stake in ("USD", "EUR", "USDC")
    },
}


class Fault(NamedTuple):
    """One thing that is wrong: where it stands, which key it is of, and what would be right."""

    place: str
    field: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(dict.fromkeys(part for part in self if part))


class BadSettings(Problem):
    """All that is wrong with the configuration, at once."""

    def __init__(self, *faults: Fault) -> None:
        several = f"{len(faults)} problems in the configuration:"
        super().__init__("\n  ".join([several, *map(str, faults)]) if len(faults) > 1 else str(faults[0]))
        self.faults = faults


class Layer(NamedTuple):
    """The values of one source, and the place of each of its keys as a person would look it up."""

    values: dict[str, Any]
    place: Callable[[KeyPath], str]
    spell: Callable[[KeyPath], str] = ".".join
    """How this source names a key."""

    def holds(self, path: KeyPath) -> bool:
        """Whether this source sets the key."""
        node: Any = self.values
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
        return True


def read_layers(
    config: Path | None, preset: str | None, overrides: Mapping[str, Any], keys: Iterable[KeyPath]
) -> tuple[list[Layer], list[Fault]]:
    """The sources, highest first: command line, environment, file (if there is one), preset; and
    what is wrong with the choice of the preset.

    `overrides` are options by dotted key (None: not given); `keys` are all that a variable may
    name. Raises BadSettings for a file that cannot be read.
    """
    options: dict[str, Any] = {}
    for key, value in (*overrides.items(), ("preset", preset)):
        if value is not None:
            _put(options, tuple(key.split(".")), value)
    file = _file(config)
    layers = [Layer(options, lambda path: "command line"), _environment(keys), *file]
    named = [layer for layer in layers if "preset" in layer.values]
    chosen = named[0].values["preset"] if named else DEFAULT_PRESET
    if chosen not in list(PRESETS):
        return layers, [Fault(named[0].place(("preset",)), "preset", _no_preset(chosen))]
    faults = []
    for layer in file:
        if (other := layer.values.get("preset", chosen)) != chosen:
            # A file made for one preset sets what another would: the choice would silently do nothing.
            problem = f"{other!r} here, but {chosen!r} was asked for: leave out one of them"
            faults.append(Fault(layer.place(("preset",)), "preset", problem))
    return [*layers, Layer(PRESETS[chosen].values, lambda path: f"preset {chosen}")], faults


def _no_preset(name: Any) -> str:
    close = get_close_matches(str(name), PRESETS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(PRESETS)}"
    return f"no preset {name!r}; {hint}"


def variable(path: KeyPath) -> str:
    """The environment variable that sets a key: LOTWISE__SIZING__RESERVE."""
    return ENV_PREFIX + ENV_DELIMITER.join(path).upper()


def _put(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    for section in path[:-1]:
        values = values.setdefault(section, {})
    values[path[-1]] = value


def _environment(keys: Iterable[KeyPath]) -> Layer:
    """pydantic-settings' own reader passes over unknown names and reads numbers through float."""
    paths = {variable(path): path for path in keys}
    values: dict[str, Any] = {}
    for name, text in os.environ.items():
        if name.startswith(ENV_PREFIX):
            _put(values, paths.get(name, (name,)), text)
    return Layer(values, lambda path: path[0] if path[0].startswith(ENV_PREFIX) else variable(path), variable)


def _file(config: Path | None) -> list[Layer]:
    found = [path for path in map(Path, DEFAULT_FILES) if path.exists()] if config is None else [config]
    if len(found) > 1:
        raise BadSettings(Fault(" and ".join(map(str, found)), "", "both are here; name one with --config"))
    if not found:
        return []
    path = found[0]
    text, toml = _text(path), path.suffix.lower() == ".toml"
    try:
        values = tomllib.loads(text, parse_float=_number) if toml else _json(text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"line (\d+)", str(error))
        last = f":{len(text.splitlines())}" if "end of document" in str(error) else ""
        where = f"{path}:{line[1]}" if line else f"{path}{last}"
        raise BadSettings(Fault(where, "", f"no valid {'TOML' if toml else 'JSON'}: {error}")) from None
    if not isinstance(values, dict):
        raise BadSettings(Fault(f"{path}:1", "", 'must be keys and values in braces, such as {"seed": 1}'))

    def place(key: KeyPath) -> str:
        line = _line(text, key)
        return f"{path}:{line}" if line else str(path)

    return [Layer(values, place)]


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MAX_FILE_CHARACTERS + 1)
    except OSError as error:
        raise BadSettings(Fault(str(path), "", f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        raise BadSettings(Fault(str(path), "", f"is not UTF-8 text (byte {error.start})")) from None
    if len(text) > MAX_FILE_CHARACTERS:
        raise BadSettings(Fault(str(path), "", f"is longer than {MAX_FILE_CHARACTERS} characters"))
    return text


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        for key in values:
            if sum(name == key for name, _ in pairs) > 1:
                raise ValueError(f"the key {key!r} stands twice (line {_line(text, (key,))})")
        return values

    return json.loads(
        text, parse_float=_number, parse_int=_number, parse_constant=_number, object_pairs_hook=once
    )


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text  # an exponent past all sense: the key's own check refuses it, with its line


def _line(text: str, path: KeyPath) -> int | None:
    """The line of a key: each name in turn, before a colon or equals sign or in a [section]."""
    found = None
    for name in path:
        word = re.escape(name)
        pattern = re.compile(rf"""(?<![\w-])["']?{word}["']?\s*[:=]|^\s*\[[^\]\n]*\b{word}\s*\]""", re.M)
        match = pattern.search(text, found or 0)
        if match is None:
            break
        found = match.end()
    return None if found is None else text.count("\n", 0, found) + 1
