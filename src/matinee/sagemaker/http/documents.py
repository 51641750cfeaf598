"""Values of a service's model as documents of maps, lists and scalars: JSON and CBOR.

Both have the same structures, lists and maps; they differ in how they spell scalars. A request's
values of other types than the model's are noted, all of them; members the model does not know are
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.model import Shape

from matinee.sagemaker.http.protocols import Mismatches, present_members, wire_name

_CONTAINERS: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}


@dataclass(frozen=True, slots=True)
class Notation:
    """How a kind of document spells scalars.

    Attributes
    ----------
    types
        What may stand for a scalar of the model, by its type.
    read_scalar
        Returns the value of what is spelt, by the type; ValueError, OverflowError or OSError when
        there is none.
    write_scalar
        Returns how a value is spelt, by the type.
    """

    types: Mapping[str, tuple[type, ...]]
    read_scalar: Callable[[Any, str], Any]
    write_scalar: Callable[[Any, str], Any]

    def read(self, value: Any, shape: Shape, path: str, mismatches: Mismatches) -> Any:
        """Return a shape's value of what a document says; what has another type is noted."""
        kind = shape.type_name
        if not self._has_type(value, kind):
            mismatches.add(path, shape, value)
            return None
        if kind == "structure":
            prefix = f"{path}." if path else ""
            return {
                name: self.read(value[called], member, f"{prefix}{name}", mismatches)
                for name, member in shape.members.items()
                if value.get(called := wire_name(name, member)) is not None
            }
        if kind == "list":
            return [
                self.read(item, shape.member, f"{path}[{index}]", mismatches)
                for index, item in enumerate(value)
            ]
        if kind == "map":
            return {
                self.read(key, shape.key, path, mismatches): self.read(
                    item, shape.value, f"{path}[{key!r}]", mismatches
                )
                for key, item in value.items()
            }
        try:
            return self.read_scalar(value, kind)
        except (ValueError, OverflowError, OSError):
            mismatches.add(path, shape, value)
            return None

    def _has_type(self, value: Any, kind: str) -> bool:
        types = _CONTAINERS.get(kind) or self.types[kind]
        # To Python, but not to the model, true is a number.
        return isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool))

    def write(self, value: Any, shape: Shape, path: str) -> Any:
        """Return the document of a shape's value.

        Raises
        ------
        ValueError
            A structure has a member the model does not know.
        """
        kind = shape.type_name
        if kind == "structure":
            return {
                wire_name(name, member): self.write(item, member, f"{path}.{name}")
                for name, item, member in present_members(value, shape, path)
            }
        if kind == "list":
            return [self.write(item, shape.member, path) for item in value]
        if kind == "map":
            return {key: self.write(item, shape.value, path) for key, item in value.items()}
        return self.write_scalar(value, kind)
