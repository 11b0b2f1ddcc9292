"""Reading JSON documents of clients: a value of the wrong type is their error, and named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.errors import InvalidInput

if TYPE_CHECKING:
    from typing import Any


class Fields:
    """A JSON object. Names count without regard to case, as Go's decoder takes them; null and a missing name are the default."""

    def __init__(self, document: Any, where: str = "") -> None:
        if document is None:
            document = {}
        if not isinstance(document, dict):
            raise InvalidInput(f"failed to decode the request's body: {where or 'the body'} is not an object")
        self._where = where
        self._values = {str(key).lower(): value for key, value in document.items()}

    def __contains__(self, name: str) -> bool:
        return self._values.get(name.lower()) is not None

    def raw(self, name: str) -> Any:
        return self._values.get(name.lower())

    def _fail(self, name: str, wanted: str) -> InvalidInput:
        path = f"{self._where}.{name}" if self._where else name
        return InvalidInput(f"failed to decode the request's body: {path} is not {wanted}")

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._fail(name, "a string")
        return value

    def number(self, name: str, default: int = 0) -> int:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._fail(name, "a number")
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._fail(name, "true or false")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; one string alone is taken too."""
        value = self.raw(name)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._fail(name, "a list of strings")
        return list(value)

    def map(self, name: str) -> dict[str, Any]:
        """An object, whose own names keep their case."""
        value = self.raw(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._fail(name, "an object")
        return value

    def pairs(self, name: str) -> list[str]:
        """An object of strings as KEY=VALUE."""
        found = []
        for key, value in self.map(name).items():
            if not isinstance(value, str | int | float | bool):
                raise self._fail(name, "an object of strings")
            found.append(f"{key}={value}")
        return found

    def inner(self, name: str) -> Fields:
        return Fields(self.raw(name), f"{self._where}.{name}" if self._where else name)

    def items(self, name: str) -> list[Fields]:
        """A list of objects."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._fail(name, "a list")
        return [Fields(item, f"{name}[{position}]") for position, item in enumerate(value)]
