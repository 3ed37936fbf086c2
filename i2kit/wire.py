"""Plans, statuses and records as plain data (what JSON knows), and back."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.strategies import configure_tagged_union

from i2kit.errors import I2kitError
from i2kit.resources import Resource

T = TypeVar("T")


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for resource in Resource.__args__:
        hook = cattrs.gen.make_dict_unstructure_fn(resource, converter, kind=cattrs.override(omit=True))
        converter.register_unstructure_hook(resource, hook)
        converter.register_structure_hook(resource, cattrs.gen.make_dict_structure_fn(resource, converter, kind=cattrs.override(omit=True)))
    configure_tagged_union(Resource, converter, tag_name="kind")
    return converter


def to_data(value: Any) -> Any:
    """Return `value` (any of i2kit's types) as mappings, lists, strings, numbers, booleans and None."""
    converter = _converter()
    if attrs.has(type(value)) and type(value) in Resource.__args__:
        return converter.unstructure(value, unstructure_as=Resource)
    return converter.unstructure(value)


def from_data(data: Any, kind: type[T]) -> T:
    """Return the `kind` that `to_data` made `data` of; raise `I2kitError` (code ``unreadable-data``) when it is something else."""
    try:
        return _converter().structure(data, kind)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError) as error:
        problems = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [str(error)]
        raise I2kitError.of(
            "unreadable-data",
            f"this is not a {kind.__name__} that this version of i2kit understands: {'; '.join(problems[:3])}",
            hint="a newer i2kit may have written it; use that version",
        ) from error
