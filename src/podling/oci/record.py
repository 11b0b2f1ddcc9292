"""Typed records with almost no cost at start-up.

dataclasses cost 15 ms of imports and msgspec 25 ms on a 2-core machine, more than all else that `podling ps` does. A
`Record` subclass is written like a dataclass; a type checker sees one (PEP 681), and at run time its fields are plain
attributes. Defaults that are lists or dicts are copied per instance. Records nest through `nested`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(kw_only_default=True)
class Record:
    """Base of typed records: keyword construction, equality, and conversion to and from JSON values."""

    #: fields whose value is a record, or a list of records, of this type
    nested: ClassVar[dict[str, type[Record]]] = {}
    _fields: ClassVar[tuple[str, ...]] = ()
    _copied: ClassVar[tuple[tuple[str, Any], ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        fields = [name for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar")]
        cls._fields = (*cls._fields, *fields)
        cls._copied = tuple(
            (name, getattr(cls, name)) for name in cls._fields if isinstance(getattr(cls, name, None), list | dict)
        )
        cls._required = frozenset(name for name in cls._fields if not hasattr(cls, name))

    def __init__(self, **values: Any) -> None:
        for name, default in self._copied:
            if name not in values:
                values[name] = default.copy()
        unknown = values.keys() - set(self._fields)
        if unknown or not self._required <= values.keys():
            missing = self._required - values.keys()
            raise TypeError(f"{type(self).__name__}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        self.__dict__.update(values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.to_json() == self.to_json()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.to_json().items())})"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; a field that holds its default is left out."""
        out: dict[str, Any] = {}
        for name in self._fields:
            value = getattr(self, name)
            if name not in self._required and value == getattr(type(self), name):
                continue
            if isinstance(value, Record):
                value = value.to_json()
            elif name in self.nested and isinstance(value, list):
                value = [item.to_json() for item in value]
            out[name] = value
        return out

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The inverse of `to_json`. Fields that we do not know are dropped, so that an older engine reads a newer row."""
        values = {name: document[name] for name in cls._fields if name in document}
        for name, kind in cls.nested.items():
            value = values.get(name)
            if isinstance(value, list):
                values[name] = [kind.from_json(item) for item in value]
            elif value is not None:
                values[name] = kind.from_json(value)
        return cls(**values)
