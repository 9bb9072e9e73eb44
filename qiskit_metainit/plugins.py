"""File name <-> class: models, engines, families and reproductions, found where they lie or by an entry point."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Kind = Literal["models", "engines", "problems", "reproductions"]
"""A folder of the package, and with ``qiskit_metainit.`` before it the entry-point group of outsiders."""


def names(kind: Kind) -> list[str]:
    """Return the names of all plugins of a kind, sorted.

    >>> "sk_infinity" in names("models")
    True
    """
    return sorted({*_own(kind), *_foreign(kind)})


def load(kind: Kind, name: str) -> type[Any]:
    """Return the class of a plugin.

    Raises:
        ValueError: if there is none of that name, with the names there are.
    """
    if name in _own(kind):
        return _only_class(f"qiskit_metainit.{kind}.{name}")
    if name in _foreign(kind):
        loaded: type[Any] = _foreign(kind)[name].load()
        return loaded
    raise ValueError(
        f"There is no plugin {name!r} among the {kind}: choose one of {', '.join(names(kind))}, or install the package "
        f"that offers it under the entry-point group 'qiskit_metainit.{kind}'."
    )


def name_of(kind: Kind, cls: type[Any]) -> str:
    """Return the name under which ``load`` finds a class.

    Raises:
        ValueError: if the class is no plugin, so an artifact of it could not be loaded again.
    """
    for name, entry in _foreign(kind).items():
        if f"{cls.__module__}:{cls.__qualname__}" == entry.value:
            return name
    name = cls.__module__.rpartition(".")[2]
    if cls.__module__ == f"qiskit_metainit.{kind}.{name}":
        return name
    raise ValueError(
        f"{cls.__qualname__} is not a plugin of the {kind}, so nobody could load it again. Offer it under the "
        f"entry-point group 'qiskit_metainit.{kind}' of an installed package."
    )


@cache
def _own(kind: Kind) -> tuple[str, ...]:
    package = importlib.import_module(f"qiskit_metainit.{kind}")
    return tuple(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


@cache
def _foreign(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"qiskit_metainit.{kind}")}


def _only_class(module_name: str) -> type[Any]:
    module = importlib.import_module(module_name)
    classes = [
        member
        for name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module_name and not name.startswith("_")
    ]
    if len(classes) != 1:
        raise TypeError(f"A plugin file holds exactly one public class, but {module_name} has {len(classes)}.")
    return classes[0]
