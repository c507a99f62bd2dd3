"""A network written down as plain values: short names become class paths, anything foreign is refused.

Nothing outside medconv and the packages that the caller names is imported, not even looked for. A slot is
found by its type: where a class asks for a ``ConvFactory``, a configuration may name any ``ConvOp``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import is_protocol

from medconv.attention import Attention, SkipAttention
from medconv.catalogue import catalogue, did_you_mean, find
from medconv.errors import ConfigError, UnknownNameError

MAX_INT = 65_536
MAX_LIST = 64
MAX_NESTING = 12
"""No network needs more; a specification that does was forged to exhaust memory or time."""


def spell_out(
    spec: Any, base: type[Any], *, allow: Sequence[str] = (), place: str = "network"
) -> dict[str, Any]:
    """Write a specification in full: every class by its path, every slot with what stands in it by default.

    Args:
        spec: A class name or path, or ``{"class_path": ..., "init_args": {...}}``.
        base: What the class must be a subclass of.
        allow: Packages of plug-ins whose classes may be named besides medconv's.
        place: Where the specification stands, for messages.

    Raises:
        UnknownNameError: No such class or option; the text offers the nearest.
        ConfigError: A foreign class, an absurd number, an option that the network sets itself, or another
            type.

    Example:
        >>> from medconv.ops import ConvOp
        >>> spell_out("StandardConv", ConvOp)
        {'class_path': 'medconv.ops.StandardConv', 'init_args': {}}
    """
    refuse_absurd(spec, place)
    return _spell_out(deepcopy(spec), base, frozenset(), tuple(allow), place)


def refuse_absurd(value: Any, place: str, nesting: int = 0) -> None:
    """Refuse numbers, lists and nesting beyond what any network needs.

    Raises:
        ConfigError: With the place and the limit.
    """
    if nesting > MAX_NESTING:
        raise ConfigError(f"{place}: expected at most {MAX_NESTING} levels of nesting")
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise ConfigError(f"{place}: expected a number up to {MAX_INT}, got {value}")
    if not isinstance(value, Mapping | list | tuple):
        return
    if len(value) > MAX_LIST:
        raise ConfigError(f"{place}: expected at most {MAX_LIST} entries, got {len(value)}")
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        refuse_absurd(item, f"{place}.{key}", nesting + 1)


def is_trusted(class_path: str, allow: Iterable[str] = ()) -> bool:
    """Whether a dotted path names something public of medconv, or anything in a package of ``allow``."""
    if class_path.startswith("medconv.") and "._" not in class_path:
        return True
    return any(class_path.startswith(f"{package}.") for package in allow)


def _spell_out(
    spec: Any, base: type[Any], given: frozenset[str], allow: tuple[str, ...], place: str
) -> dict[str, Any]:
    """As ``spell_out``; ``given`` are the options that the network sets itself."""
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise ConfigError(
            f"{place}: expected the name of a {base.__name__}, or class_path and init_args; got {spec!r:.200}"
        )
    if unknown := sorted(set(spec) - {"class_path", "init_args"}):
        raise ConfigError(
            f"{place}: expected only class_path and init_args, got {unknown} too; move it into init_args"
        )
    cls = _class_of(spec["class_path"], base, allow, place)
    options = spec.get("init_args") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{place}.init_args: expected options by name, got {options!r:.200}")
    parameters = inspect.signature(cls).parameters
    _check_options(options, list(parameters), given, cls, place)
    written = dict(options)
    for name, (slot_base, slot_given, words) in _slots(cls).items():
        value = written.get(name, parameters[name].default)
        if name not in given and value is not inspect.Parameter.empty:
            written[name] = _spell_slot(value, slot_base, slot_given, words, allow, f"{place}.{name}")
    return {"class_path": class_path_of(cls), "init_args": written}


def _spell_slot(
    value: Any,
    base: type[Any],
    given: frozenset[str],
    words: tuple[str, ...],
    allow: tuple[str, ...],
    place: str,
) -> Any:
    if value is None or value in words:
        return value
    if isinstance(value, list | tuple):
        return [_spell_slot(item, base, given, (), allow, f"{place}.{i}") for i, item in enumerate(value)]
    if isinstance(value, str) and "." not in value:
        find(value, dict.fromkeys(words, base) | catalogue(base), f"{base.__name__} for {place}")
    if isinstance(value, type):
        value = class_path_of(value)
    elif isinstance(value, partial) and isinstance(value.func, type):
        value = {"class_path": class_path_of(value.func), "init_args": value.keywords}
    return _spell_out(value, base, given, allow, place)


def _class_of(name: str, base: type[Any], allow: tuple[str, ...], place: str) -> type:
    """The class with this short name or path."""
    kind = base.__name__
    for package in allow:
        import_module(package)
    if "." not in name:
        cls = find(name, catalogue(base), f"{kind} for {place}")
        _require_trust(class_path_of(cls), allow, place)
        return cls
    _require_trust(name, allow, place)
    module, _, attribute = name.rpartition(".")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        known = {class_path_of(c): c for c in catalogue(base).values()}
        raise UnknownNameError(f"{place}: no class {name!r}{did_you_mean(name, known)}") from error
    if not (isinstance(cls, type) and issubclass(cls, base)) or inspect.isabstract(cls):
        article = "an" if kind[0] in "AEIOU" else "a"
        elsewhere = isinstance(cls, type) and issubclass(cls, SkipAttention) and base is Attention
        remedy = "; it weighs skips: put it in skip_attention" if elsewhere else ""
        raise ConfigError(f"{place}: expected {article} {kind} that can be built, got {name!r}{remedy}")
    return cls


def _require_trust(class_path: str, allow: tuple[str, ...], place: str) -> None:
    if not is_trusted(class_path, allow):
        package = class_path.split(".")[0]
        raise ConfigError(
            f"{place}: {class_path!r} is neither medconv's nor a plug-in's that you named; nothing was "
            f"imported. If you trust the package {package!r}: allow=({package!r},) or --plugin {package}"
        )


def class_path_of(cls: type) -> str:
    """Where users find a class: in the door of its room if that shows it, else in its module.

    Example:
        >>> from medconv.models import UNet
        >>> class_path_of(UNet)
        'medconv.models.UNet'
    """
    room = ".".join(cls.__module__.split(".")[:2])
    shown = getattr(import_module(room), cls.__name__, None) is cls
    return f"{room if shown else cls.__module__}.{cls.__qualname__}"


def _check_options(
    options: Mapping[str, Any], parameters: list[str], given: frozenset[str], cls: type, place: str
) -> None:
    own = [name for name in parameters if name not in given]
    listed = f"Options: {', '.join(own) or 'none'}"
    for name in options:
        if name in given:
            raise ConfigError(
                f"{place}: {name!r} of {cls.__name__} is set by the network and cannot be configured. "
                f"{listed}"
            )
        if name not in parameters:
            raise UnknownNameError(
                f"{place}: {cls.__name__} has no option {name!r}"
                f"{did_you_mean(str(name), own) or '.'} {listed}"
            )


def _slots(cls: type) -> dict[str, tuple[type, frozenset[str], tuple[str, ...]]]:
    """The options of a class that take a class: its base, the options it is given, words in its place."""
    found = {}
    for name, annotation in get_type_hints(cls.__init__).items():  # type: ignore[misc]
        parts = list(_parts(annotation))
        words = tuple(w for part in parts if get_origin(part) is Literal for w in get_args(part))
        for factory in parts:
            if isinstance(factory, type) and is_protocol(factory):
                call = factory.__call__
                given = frozenset(inspect.signature(call).parameters) - {"self"}
                found[name] = (get_type_hints(call)["return"], given, words)
    return found


def _parts(annotation: Any) -> Iterable[Any]:
    """A type and everything that it is made of: the members of unions, the entries of lists."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)
