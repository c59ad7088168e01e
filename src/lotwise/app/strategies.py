"""Strategies by name: the shipped ones, and the user's own as module:Class, which runs its code.

Nothing of numpy is needed to check a name, so that the settings load quickly.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lotwise.app.terminal import Problem

if TYPE_CHECKING:
    from lotwise.strategies.strategy import Strategy

SHIPPED = {
    "dip": "lotwise.strategies.dip:Dip",
    "trend": "lotwise.strategies.trend:Trend",
    "breakout": "lotwise.strategies.breakout:Breakout",
}
EXAMPLE = "`lotwise strategy new` writes one that runs"
DIGITS = 16
"""Of the hash of a strategy's source."""

PARTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a word", lambda value: isinstance(value, str) and bool(value.strip())),
    "warm_up": ("a whole number of bars", lambda value: isinstance(value, Integral) and int(value) >= 0),
    "confidence": ("a method", callable),
}
"""What a strategy has: how to say it, and whether it fits."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A strategy, and what a run on it is told about its code: of a user's own, the source's hash."""

    strategy: "Strategy"
    told: dict[str, str]


def known_name(name: str) -> str:
    """The name, or ValueError where it can name no strategy; no module is looked for yet."""
    if name in SHIPPED:
        return name
    module, colon, kind = name.partition(":")
    if not colon:
        close = get_close_matches(name, SHIPPED, n=1)
        hint = f"did you mean {close[0]}?" if close else "your own is module:Class, such as mine:MyStrategy"
        raise ValueError(f"no strategy {name!r}; {hint}")
    if module.endswith(".py"):
        dotted = module.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise ValueError(f"{name!r} names a file; write the module: {dotted}:{kind or 'MyStrategy'}")
    if not all(part.isidentifier() for part in (*module.split("."), kind)):
        raise ValueError(f"{name!r} is no module:Class, such as my_strategy:MyStrategy")
    return name


def load_strategy(name: str) -> Loaded:
    """The strategy of a known name, made without arguments. Raises Problem with what is wrong.

    A module is looked for in the current folder, then on Python's path.
    """
    module, _, kind = SHIPPED.get(name, name).partition(":")
    own = name not in SHIPPED
    if own and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    found = _class(_module(module), kind)
    strategy = _made(found)
    return Loaded(strategy, {"strategy_code": _code(found)} if own else {})


def _module(name: str) -> ModuleType:
    from lotwise.strategies.wishes import blame

    importlib.invalidate_caches()  # a file may be younger than Python's list of its folder
    try:
        return importlib.import_module(name)
    # The user's code may raise anything, and sys.exit() too; what it says is for its author.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        if not (isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")):
            raise Problem(f"importing {name} raises {blame(error)}") from None
    close = get_close_matches(name, [path.stem for path in Path().glob("*.py")], n=1)
    hint = f"did you mean {close[0]}?" if close else EXAMPLE
    raise Problem(f"there is no module {name} in this folder or on Python's path; {hint}")


def _class(module: ModuleType, name: str) -> type:
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    if found is not None:
        raise Problem(f"{name} in {module.__name__} is of type {type(found).__name__}, not a class")
    classes = {kind: value for kind, value in vars(module).items() if isinstance(value, type)}
    own = [kind for kind, value in classes.items() if value.__module__ == module.__name__]
    close = get_close_matches(name, classes, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(own) or 'none of its own'}"
    raise Problem(f"{module.__name__} has no class {name}; {hint}")


def _made(kind: type) -> "Strategy":
    from lotwise.strategies.wishes import blame

    called = f"{kind.__module__}:{kind.__name__}"
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise Problem(f"{called} is made without arguments: {error}; give it a default") from None
    except ValueError:
        pass  # a class of another language tells nothing of its arguments: the call will
    try:
        strategy = kind()
        lacking = [part for part in PARTS if inspect.getattr_static(strategy, part, None) is None]
        parts = {part: getattr(strategy, part) for part in PARTS if part not in lacking}
    # As above: the constructor and the properties are the user's.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raise Problem(f"making {called} raises {blame(error)}") from None
    if lacking:
        raise Problem(f"{called} is no strategy: it has no {' and no '.join(lacking)}; {EXAMPLE}")
    for part, value in parts.items():
        must, fits = PARTS[part]
        if not fits(value):
            remedy = "; put @property above it" if inspect.ismethod(value) else f", not {value!r:.40}"
            raise Problem(f"{called} is no strategy: its {part} must be {must}{remedy}")
    made: Strategy = strategy
    return made


def _code(kind: type) -> str:
    """The hash of the file that a class is written in; what else it imports is not covered."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return sha256(Path(file).read_bytes()).hexdigest()[:DIGITS] if file else "unknown"
