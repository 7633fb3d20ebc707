"""The base class of values: frozen, compared and hashed by their fields.

At run time a value is a `msgspec.Struct`, not a frozen dataclass. One message makes some hundred values, and a
dataclass sets each frozen field by a call; together these took a tenth of a message's time. The type checker treats a
value as a dataclass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from dataclasses import replace
    from typing import dataclass_transform

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    class Value:
        """Base of all values. `order` makes them comparable by `<` too."""

        def __init_subclass__(cls, order: bool = False) -> None: ...

else:
    from msgspec.structs import replace

    # A field that has its default is not stored. So a default never changes: the stored values would change with it.
    class Value(Struct, frozen=True, omit_defaults=True):
        pass


__all__ = ["Value", "asdict", "field", "replace"]


def asdict(value: Value) -> dict[str, Any]:
    """The fields by name; each value inside becomes a mapping too."""
    names: tuple[str, ...] = getattr(value, "__struct_fields__", ())
    return {name: _open(getattr(value, name)) for name in names}


def _open(held: Any) -> Any:
    if isinstance(held, Value):
        return asdict(held)
    if type(held) in (tuple, list):
        return type(held)(map(_open, held))
    if type(held) is dict:
        return {key: _open(inner) for key, inner in held.items()}
    return held
