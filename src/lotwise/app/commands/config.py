"""`lotwise config`: write a configuration, check it, describe it, show what is in force."""

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lotwise.app.presets import DEFAULT_FILES, DEFAULT_PRESET, PRESETS, BadSettings, KeyPath, variable
from lotwise.app.terminal import BAD_INPUT, Problem, json_option, to_json, unwritten
from lotwise.domain.values import plain

if TYPE_CHECKING:
    from lotwise.app.settings import Settings

# `settings` needs pydantic: it is imported where it is used, so that help stays instant.

REFERENCE = """\
# Configuration

`lotwise config init` writes a complete `config.json` (with a path that ends in `.toml`: TOML, with
this help in it), `lotwise config check` says what is wrong with one, `lotwise config show` what is
in force and where each value comes from, `lotwise config schema` prints a JSON schema for editors.
This page is printed by `lotwise config schema --markdown`.

## Where a value comes from

From the first of these that has it:

1. the command line;
2. the environment: `{variable}` for the key `{key}`;
   capitals, two underscores between the parts, a list separated by commas;
3. the file named by `--config`, or else `{files}` in the current
   folder (both at once is an error);
4. the preset, chosen by `--preset` or the key `preset` (a file that names one preset is refused
   under another);
5. the default.

Numbers are exact: `0.1` in a file is one tenth, and so is the text `"0.1"`. An unknown key, a key
that stands twice, a number that is not finite and a value out of its range are errors that name
the file, the line and the key; all of them are listed, and nothing runs.

A fraction is a share of 1: 5 % is `0.05`. Money is in the stake currency, whatever a key's name
says: the names in `sizing` are those of an earlier bot, the others are freqtrade's where the
meaning is the same.

## Presets
"""


@click.group(name="config")
def command() -> None:
    """Write, check or describe the configuration.

    Without a path, ./config.json or ./lotwise.toml is read where present. Above the file stand
    variables such as LOTWISE__SIZING__RESERVE, below it the preset. docs/configuration.md lists
    every key.
    """


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default=DEFAULT_FILES[0])
@click.option("--preset", type=click.Choice(list(PRESETS)), default=DEFAULT_PRESET, show_default=True)
@click.option("--force", is_flag=True, help="Write over an existing file.")
@json_option
def init(path: Path, preset: str, force: bool, as_json: bool) -> None:
    """Write a complete configuration to PATH (JSON; TOML with help where PATH ends in .toml). Left open is
    what real orders take otherwise than those on paper (sizing.exit_headroom)."""
    from lotwise.app.settings import Settings

    settings = Settings.model_validate({**PRESETS[preset].values, "preset": preset})
    written = _toml if path.suffix.lower() == ".toml" else _json
    if path.is_dir():
        raise Problem(f"{path} is a folder; name a file in it")
    if path.suffix.lower() not in (".json", ".toml"):
        raise Problem(f"{path}: name it .json or .toml, by which it is read")
    if path.exists() and not force:
        raise Problem(f"{path} exists; --force writes over it")
    # A draft first: a full disk must not cost the configuration that was there.
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(f"{written(_values(settings))}\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise unwritten(path, error) from None
    told = to_json({"path": str(path), "preset": preset})
    click.echo(told if as_json else f"wrote {path}, preset {preset}")


@command.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@json_option
@click.pass_context
def check(ctx: click.Context, path: Path | None, as_json: bool) -> None:
    """Say ok, or all that is wrong with the configuration (the environment included)."""
    from lotwise.app.configuration import load_settings

    try:
        settings = load_settings(path, None, {})
    except BadSettings as bad:
        if not as_json:
            raise
        click.echo(to_json({"ok": False, "problems": [fault._asdict() for fault in bad.faults]}))
        ctx.exit(BAD_INPUT)
    click.echo(to_json({"ok": True, "problems": []}) if as_json else f"ok, preset {settings.preset}")


@command.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="The file to read.")
@click.option("--preset", metavar="NAME", help=f"The starting point: {' or '.join(PRESETS)}.")
@json_option
def show(file: Path | None, preset: str | None, as_json: bool) -> None:
    """Show the value of every key in force, and where it comes from."""
    from lotwise.app.configuration import KEYS, load_with_origins

    settings, origins = load_with_origins(file, preset, {})
    values = settings.fingerprint()
    if as_json:
        click.echo(to_json({".".join(p): {"value": _at(values, p), "from": origins[p]} for p in KEYS}))
        return
    for path in KEYS:
        value = _at(values, path)
        text = " ".join(value) if isinstance(value, list) else _scalar(value).strip('"')
        click.echo(f"{'.'.join(path):36} {text:14} {origins[path]}")


@command.command()
@click.option("--markdown", is_flag=True, help="Print docs/configuration.md instead.")
@json_option
def schema(markdown: bool, as_json: bool) -> None:
    """Print the JSON schema of the configuration (--json: on one line)."""
    from lotwise.app.settings import Settings

    described = Settings.model_json_schema()
    text = to_json(described) if as_json else json.dumps(described, indent=2)
    click.echo(reference() if markdown else text, nl=not markdown)


def reference() -> str:
    """docs/configuration.md: every key with its default, unit and help."""
    from lotwise.app.configuration import KEYS, SECTIONS, default_text, unit

    example = ("sizing", "reserve")
    files = "` or `".join(DEFAULT_FILES)
    lines = [REFERENCE.format(variable=variable(example), key=".".join(example), files=files)]
    lines += [f"- `{name}`: {preset.about}" for name, preset in PRESETS.items()]
    for section, paths in _by_section(list(KEYS)).items():
        title = f"`{'.'.join(section)}`: {SECTIONS[section].description}" if section else "Top level"
        lines += ["", f"## {title}", "", "| key | default | unit | |", "|---|---|---|---|"]
        for path in paths:
            cells = f"`{path[-1]}`", f"`{default_text(path)}`", unit(path), str(KEYS[path].description)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


OPEN: KeyPath = ("sizing", "exit_headroom")
"""Unset it is 1 on paper and 1.1 with real orders: a file that says either says it for both."""


def _values(settings: "Settings") -> dict[str, Any]:
    values: dict[str, Any] = settings.model_dump()
    if OPEN[-1] not in settings.sizing.model_fields_set:
        del values[OPEN[0]][OPEN[-1]]
    return values


def _by_section(paths: list[KeyPath]) -> dict[KeyPath, list[KeyPath]]:
    sections: dict[KeyPath, list[KeyPath]] = {}
    for path in paths:
        sections.setdefault(path[:-1], []).append(path)
    return sections


def _at(values: Any, path: KeyPath) -> Any:
    for name in path:
        values = values[name]
    return values


def _scalar(value: Any) -> str:
    """A value as JSON and TOML both write it; decimals as exact numbers."""
    return plain(value) if isinstance(value, Decimal) else json.dumps(value, default=str)


def _json(values: Any, indent: str = "") -> str:
    if not isinstance(values, dict):
        return _scalar(values)
    inside = f"{indent}  "
    rows = [f"{inside}{json.dumps(key)}: {_json(value, inside)}" for key, value in values.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def _toml(values: dict[str, Any]) -> str:
    from lotwise.app.configuration import KEYS, unit

    lines: list[str] = []
    for section, paths in _by_section(list(KEYS)).items():
        lines += ["", f"[{'.'.join(section)}]"] if section else []
        for path in paths:
            lines.append(f"# {KEYS[path].description} ({unit(path)})")
            told = path[-1] in _at(values, section)
            lines.append(f"{path[-1]} = {_scalar(_at(values, path))}" if told else f"# {path[-1]} =")
    return "\n".join(lines)
