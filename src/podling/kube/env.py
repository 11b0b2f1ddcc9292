"""The environment of a container: values, keys of ConfigMaps and Secrets, fields of the pod."""

from __future__ import annotations

import re

from podling.kube.documents import Document, Node, content_of, cpus, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


class Sources:
    """What names mean: the ConfigMaps and Secrets of the file, and `stored`, which gives the files of a secret of the store."""

    def __init__(
        self, maps: dict[str, Document], secrets: dict[str, Document], stored: Callable[[str], dict[str, bytes] | None]
    ) -> None:
        self.maps, self.secrets, self.stored = maps, secrets, stored

    def content(self, kind: str, name: str, node: Node, *, optional: bool) -> dict[str, str]:
        known = self.maps if kind == "ConfigMap" else self.secrets
        if name in known:
            found = content_of(known[name])
        else:
            found = (self.stored(name) if kind == "Secret" else None) or {}
            if not found and not optional:
                raise node.error("name", f"there is no {kind} {name}")
        return {key: value.decode("utf-8", "replace") for key, value in found.items()}


def environment(container: Node, sources: Sources, fields: dict[str, str]) -> dict[str, str]:
    """All variables; `fields` are those of the pod that `fieldRef` knows by their paths.

    Raises:
        KubeError: something it refers to is missing.
    """
    found: dict[str, str] = {}
    for node in container.nodes("envFrom"):
        prefix = node.text("prefix")
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if key in node.value:
                inner = node.node(key)
                content = sources.content(kind, inner.text("name"), inner, optional=inner.flag("optional"))
                found.update({prefix + name: value for name, value in content.items()})
    for node in container.nodes("env"):
        name = node.text("name")
        if not name:
            raise node.error("name", "it is missing")
        value = _value(node, container, sources, fields)
        if value is not None:
            found[name] = expand(value, found)
    return found


def _value(node: Node, container: Node, sources: Sources, fields: dict[str, str]) -> str | None:
    if not node.has("valueFrom"):
        value = node.value.get("value")
        return str(value).lower() if isinstance(value, bool) else node.text("value")
    origin = node.node("valueFrom")
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key in origin.value:
            inner = origin.node(key)
            optional = inner.flag("optional")
            content = sources.content(kind, inner.text("name"), inner, optional=optional)
            wanted = inner.text("key")
            if wanted not in content and not optional:
                raise inner.error("key", f"{kind} {inner.text('name')} has no key {wanted}")
            return content.get(wanted)
    if "fieldRef" in origin.value:
        path = origin.node("fieldRef").text("fieldPath")
        if path not in fields:
            raise origin.error("fieldRef", f"{path!r} is not known here", hint=f"known are {', '.join(sorted(fields))}")
        return fields[path]
    if "resourceFieldRef" in origin.value:
        return _resource(origin.node("resourceFieldRef"), container)
    raise origin.error("", "none of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef")


def _resource(node: Node, container: Node) -> str:
    """`limits.memory` and the like, in units of `divisor`, rounded up."""
    kind, _, name = node.text("resource").partition(".")
    if kind not in ("limits", "requests") or name not in ("cpu", "memory"):
        raise node.error("resource", f"{node.text('resource')!r} is none of limits or requests of cpu or memory")
    text = container.node("resources").node(kind).text(name)
    if not text:
        return "0"
    where, divisor = node.path("divisor"), node.text("divisor") or "1"
    value = cpus(text, where) if name == "cpu" else float(size(text, where))
    by = cpus(divisor, where) if name == "cpu" else float(size(divisor, where))
    return str(-int(-value // (by or 1)))


def expand(text: str, variables: dict[str, str]) -> str:
    """`$(NAME)` replaced where the name is known; `$$` is a dollar."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)
