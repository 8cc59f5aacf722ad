"""A dataset's entry in a suite -> its canonical specification -> its arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aebench import plugins
from aebench.data import DATASETS, own, split
from aebench.data.source import Dataset, Shape, Source
from aebench.errors import InputError, unknown


def describe(entry: str | Mapping[str, Any], *, split_seed: int = 0, allow_code: bool = False) -> dict[str, Any]:
    """The canonical specification of an entry; see `aebench.data.describe`."""
    name, is_own, asked, given = _read_entry(entry)
    source = own.source(name) if is_own else resolve(name, allow_code)
    shown = Path(name).name if is_own else name
    parameters, canonical = _parameters(shown, source, given)
    _, official = source.outline(parameters)
    chosen = split.plan(shown, source, official, asked, split_seed)
    split.lengths(shown, official, chosen)
    spec: dict[str, Any] = {"name": shown, "version": source.version, "parameters": canonical}
    if source.checksum:
        spec["checksum"] = source.checksum
    spec["split"] = chosen
    if shown not in DATASETS:
        spec["values"] = source.values
    if is_own:
        spec["source"] = name
    return spec


def load(spec: Mapping[str, Any], *, allow_code: bool = False) -> Dataset:
    """The arrays of a specification; see `aebench.data.load`."""
    name, source, parameters = _known(spec, allow_code)
    shape, _ = source.outline(parameters)
    plan = spec["split"]
    parts = source.read(parameters, plan.get("seed", 0))
    for part, value in parts.items():
        if value.x.shape[1:] != shape:
            raise InputError(f"{name}: {part} has examples of shape {value.x.shape[1:]}, declared are {shape}")
    train, validation, test = split.apply(name, parts, plan, source.stream or name)
    return Dataset(name, shape, train, validation, test, source.binarize)


def outline(spec: Mapping[str, Any], *, allow_code: bool = False) -> tuple[Shape, tuple[int, int, int]]:
    """Event shape and examples of train, validation and test; see `aebench.data.outline`."""
    name, source, parameters = _known(spec, allow_code)
    shape, official = source.outline(parameters)
    return shape, split.lengths(name, official, spec["split"])


def _read_entry(entry: object) -> tuple[str, bool, object, dict[str, Any]]:
    """(name or path, whether it is a path, the split asked for, the parameters given)."""
    if isinstance(entry, str):
        return entry, own.is_path(entry), None, {}
    if not isinstance(entry, Mapping):
        raise InputError(f"data: an entry is a name, a path, or a mapping with name or path, not {entry!r}")
    given: dict[Any, Any] = dict(entry)
    if ("name" in given) == ("path" in given):
        raise InputError(f"data: an entry has either name or path: {given!r}")
    is_own = "path" in given
    name = given.pop("path" if is_own else "name")
    if not isinstance(name, str) or not name:
        raise InputError(f"data: {'path' if is_own else 'name'} is a text, not {name!r}")
    return name, is_own or own.is_path(name), given.pop("split", None), given


def resolve(name: str, allow_code: bool = False) -> Source:
    """The record of a named dataset: built in, of an installed plug-in, or code of the user's."""
    found = plugins.resolve(DATASETS, "data", name, allow_code=allow_code)
    if not isinstance(found, Source):
        raise InputError(f"data {name!r} is a {type(found).__name__}; it must be an aebench.data.Source")
    return found


def _known(spec: Mapping[str, Any], allow_code: bool) -> tuple[str, Source, Any]:
    """A specification's source and parameters; InputError where the source is no longer what was described."""
    name = spec["name"]
    source = own.source(spec["source"]) if "source" in spec else resolve(name, allow_code)
    if source.version != spec["version"]:
        raise InputError(f"{name}: described at version {spec['version']}, aebench now has {source.version}")
    if source.checksum != spec.get("checksum", ""):
        raise InputError(f"{spec.get('source', name)}: it has changed since it was described")
    return name, source, _parameters(name, source, spec["parameters"])[0]


def _parameters(name: str, source: Source, given: Mapping[Any, Any]) -> tuple[Any, dict[str, Any]]:
    """Checked parameters, and their canonical JSON tree with the defaults resolved."""
    fields: tuple[str, ...] = source.parameters._fields
    for key in given:
        if key not in fields:
            raise unknown(f"parameter of {name}", key, [*fields, "split"])
    adapter: TypeAdapter[Any] = TypeAdapter(source.parameters)
    try:
        text = json.dumps(given, allow_nan=False)
        parameters = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name}: {place} = {first['input']!r}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}: {dict(given)!r}: parameters are finite numbers, texts and lists ({error})"
        ) from error
    return parameters, json.loads(json.dumps(parameters._asdict()))
