"""Components by name: plain dicts, `module:Name` for a user's class. The constructor's arguments are the schema."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Component = dict[str, Any]
"""The `name` of a component and its constructor arguments."""


Trust = bool | frozenset[str]
"""Code outside of rangeseg that a stored config may name: none (False), any (True), or these ``module:Class`` names."""


class ConfigError(ValueError):
    """An invalid config: the message names the key's path, its value and the fix."""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The last sentence of an error: the known word that is most similar, or else all known words."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(map(repr, sorted(known)))}."


class Table(Mapping[str, Callable[..., Any]]):
    """Component classes by name. A class is imported when it is looked up.

    Args:
        places: name -> ``module:Class``.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = dict(places)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        module, _, attribute = self.places[name].partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found

    def summary(self, name: str) -> str:
        """The first sentence of a component's docstring, read from its source: nothing is imported.

        Raises:
            KeyError: no such name.
        """
        module, _, attribute = self.places[name].partition(":")
        source = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.parse(source.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
                paragraph = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                return re.split(r"(?<=\.) ", paragraph)[0]
        return ""

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def build(table: Mapping[str, Callable[..., Any]], section: Mapping[str, Any], path: str, **context: Any) -> Any:
    """Make the component of a section. Nested sections, also those in a list, are made with the same table.

    Args:
        table: name -> class; ``module:Name`` stands for a class of the user.
        section: `name` and constructor arguments.
        path: the section's path in the config, for errors.
        context: values of the experiment (in_channels, wrap, ...), passed to constructors that accept them; the values
            of the section come first.

    Raises:
        ConfigError: unknown name or argument, missing argument, wrong type, or a ValueError of the constructor.
    """
    arguments = {
        key: _build_within(table, value, f"{path}.{key}", context) for key, value in section.items() if key != "name"
    }
    maker = lookup(table, section.get("name"), path)
    parameters = inspect.signature(maker).parameters
    hints = typing.get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
    for key, value in arguments.items():
        if key not in parameters:
            raise ConfigError(f"{path}.{key}: unknown key. {did_you_mean(key, list(parameters))}")
        if not _fits(value, hints.get(key, Any)):
            cure = " Put quotes around text." if isinstance(value, int | float) and _fits("", hints[key]) else ""
            raise ConfigError(f"{path}.{key}: expected {_spell(hints[key])}, got {value!r}.{cure}")
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    arguments = {k: v for k, v in context.items() if k in parameters} | arguments
    for key, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if required and key not in arguments:
            raise ConfigError(f"{path}.{key}: missing; {section.get('name')} needs it.")
    try:
        return maker(**arguments)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def lookup(table: Mapping[str, Callable[..., Any]], name: Any, path: str) -> Callable[..., Any]:
    """The class of a name; ``module:Name`` stands for a class of the user.

    Raises:
        ConfigError: no such name, module or attribute.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{path}.name: missing. {did_you_mean('', list(table))}")
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            maker: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{path}.name: {name!r} cannot be imported: {error}.") from error
        return maker
    found = table.get(name)
    if found is None:
        raise ConfigError(f"{path}.name: {name!r} is unknown. {did_you_mean(name, list(table))}")
    return found


def named_code(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path of the key, ``module:Class``) for code at any depth of a config that `build` would import.

    Args:
        value: plain mappings, lists and values.
        path: path of the value in the config.
    """
    if isinstance(value, Mapping):
        for key, within in value.items():
            place = f"{path}.{key}" if path else str(key)
            if key == "name" and isinstance(within, str) and ":" in within:
                yield place, within
            yield from named_code(within, place)
    elif isinstance(value, list | tuple):
        for number, within in enumerate(value):
            yield from named_code(within, f"{path}[{number}]")


def refuse_code(value: Any, source: str, trust: Trust = False) -> None:
    """Reject a config from a file that names code outside of rangeseg, unless it is trusted.

    Args:
        value: plain mappings, lists and values of a stored config, or of a file that came with it.
        source: name of the file, for the error.
        trust: True, or the ``module:Class`` names that are allowed.

    Raises:
        ConfigError: the config names code that is not trusted.
    """
    for path, name in named_code(value):
        if not (trust if isinstance(trust, bool) else name in trust):
            raise ConfigError(
                f"{source}: {path} is {name!r}, code that is not part of rangeseg and would run when it is loaded. "
                "Give --trust (trust=True) if you know who made this."
            )


def accepted_kwargs(function: Callable[..., Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section that a function accepts."""
    parameters = inspect.signature(function).parameters
    return {key: value for key, value in section.items() if key in parameters}


def _build_within(table: Mapping[str, Callable[..., Any]], value: Any, path: str, context: Mapping[str, Any]) -> Any:
    """The value, with its component built if it is a section; also for the items of a list."""
    if isinstance(value, Mapping) and "name" in value:
        return build(table, value, path, **context)
    if isinstance(value, list):
        return [_build_within(table, item, f"{path}[{i}]", context) for i, item in enumerate(value)]
    return value


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if origin in (tuple, list, Sequence, Iterable):
        return isinstance(value, list | tuple) and all(_fits(v, arguments[0] if arguments else Any) for v in value)
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str | Path)
    return isinstance(value, hint) if hint in (str, bool) else True


def _spell(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "")
