"""YAML documents as nodes that know where they are, so that an error names the field."""

from __future__ import annotations

import base64
import binascii

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: what makes a pod
WORKLOADS = ("Pod", "Deployment", "DaemonSet", "Job")
_KNOWN = (*WORKLOADS, "PersistentVolumeClaim", "ConfigMap", "Secret", "Service")


class KubeError(InvalidInput):
    """A document is wrong, or asks for what there is not."""

    reference = "kube"


class Node:
    """A map of a document; `where` is its path, such as `Pod web: spec.containers[0]`."""

    def __init__(self, value: Any, where: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise KubeError(f"{where}: not a map")
        self.value: dict[str, Any] = value
        self.where = where

    def __bool__(self) -> bool:
        return bool(self.value)

    def path(self, name: str) -> str:
        separator = "." if ": " in self.where else ": "
        return f"{self.where}{separator}{name}"

    def has(self, name: str) -> bool:
        return self.value.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        value = self.value.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise KubeError(f"{self.path(name)}: not a text")
        return str(value)

    def number(self, name: str, default: int = 0) -> int:
        value = self.value.get(name, default)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise KubeError(f"{self.path(name)}: not a number: {value!r}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.value.get(name, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise KubeError(f"{self.path(name)}: neither true nor false: {value!r}")
        return value

    def node(self, name: str) -> Node:
        return Node(self.value.get(name), self.path(name))

    def nodes(self, name: str) -> list[Node]:
        return [Node(item, f"{self.path(name)}[{position}]") for position, item in enumerate(self._list(name))]

    def texts(self, name: str) -> list[str]:
        found = []
        for item in self._list(name):
            if not isinstance(item, str | int | float) or isinstance(item, bool):
                raise KubeError(f"{self.path(name)}: not a list of texts")
            found.append(str(item))
        return found

    def pairs(self, name: str) -> dict[str, str]:
        """A map of texts."""
        node = self.node(name)
        return {
            str(key): node.text(key) if not isinstance(node.value[key], bool) else str(node.value[key]).lower()
            for key in node.value
        }

    def _list(self, name: str) -> list[Any]:
        value = self.value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise KubeError(f"{self.path(name)}: not a list")
        return value

    def error(self, name: str, message: str, hint: str = "") -> KubeError:
        return KubeError(f"{self.path(name)}: {message}", hint=hint)


class Document(Node):
    """A whole document: its kind, name, labels and annotations."""

    def __init__(self, value: Any, position: int) -> None:
        self.kind = self.name = ""
        super().__init__(value, f"document {position + 1}")
        self.kind = self.text("kind")
        if not self.kind:
            raise KubeError(f"document {position + 1}: it has no kind")
        self.metadata = self.node("metadata")
        self.name = self.metadata.text("name")
        self.where = f"{self.kind} {self.name}: "
        self.labels, self.annotations = self.metadata.pairs("labels"), self.metadata.pairs("annotations")

    def path(self, name: str) -> str:
        return f"{self.kind} {self.name}: {name}" if self.kind else f"{self.where}: {name}"


def parse(text: str) -> list[Document]:
    """All documents of a file, those of Lists among them; kinds that mean nothing here are left out.

    Raises:
        KubeError: it is no YAML, or a document has no kind or no name.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        raise KubeError(f"not YAML: {' '.join(str(error).split())}") from None
    items: list[Any] = []
    for value in found:
        if isinstance(value, dict) and value.get("kind") == "List":
            items += value.get("items") or []
        elif value is not None:
            items.append(value)
    documents = [Document(value, position) for position, value in enumerate(items)]
    if not documents:
        raise KubeError("there is no document in it", hint="a Pod, a Deployment, … with apiVersion and kind")
    for document in documents:
        if document.kind in _KNOWN and not document.name:
            raise KubeError(f"{document.kind}: metadata.name is missing")
    return [document for document in documents if document.kind in _KNOWN]


def content_of(document: Node) -> dict[str, bytes]:
    """The files of a ConfigMap (data, binaryData) or a Secret (data in base64, stringData)."""
    encoded = "binaryData" if document.text("kind") == "ConfigMap" else "data"
    plain = "data" if encoded == "binaryData" else "stringData"
    found = {}
    for key, text in document.pairs(encoded).items():
        try:
            found[key] = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            raise KubeError(f"{document.path(encoded)}.{key}: not base64") from None
    for key, text in document.pairs(plain).items():
        found[key] = text.encode()
    return found


def pod_name(document: Document) -> str:
    """What the pod of a workload is called."""
    return document.name if document.kind == "Pod" else f"{document.name}-pod"


def pod_spec(document: Document) -> tuple[Node, dict[str, str], dict[str, str]]:
    """(spec, labels, annotations) of the pod that a workload makes."""
    if document.kind == "Pod":
        return document.node("spec"), document.labels, document.annotations
    template = document.node("spec").node("template")
    metadata = template.node("metadata")
    return template.node("spec"), metadata.pairs("labels"), {**document.annotations, **metadata.pairs("annotations")}


def cpus(text: str, where: str) -> float:
    """`500m` or `1.5`, in processors."""
    try:
        return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    except ValueError:
        raise KubeError(f"{where}: {text!r} is no number of processors, such as 500m or 2") from None


_SIZES = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
    "Pi": 1 << 50, "m": 0.001,
}  # fmt: skip


def size(text: str, where: str) -> int:
    """`64Mi` or `1G`, in bytes."""
    number = text.rstrip("kmMGTPi")
    try:
        return int(float(number) * _SIZES[text[len(number) :]])
    except (ValueError, KeyError):
        raise KubeError(f"{where}: {text!r} is no quantity, such as 64Mi or 1G") from None
