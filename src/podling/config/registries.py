"""registries.conf (containers-registries.conf(5)), version 2: search list, aliases, insecure, blocked, location."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.oci.record import Record
from podling.oci.reference import Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class RegistryRule(Record):
    """One [[registry]] table."""

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False

    def covers(self, name: str) -> bool:
        if self.prefix.startswith("*."):
            return name.partition("/")[0].endswith(self.prefix[1:])
        return name == self.prefix or name.startswith((self.prefix + "/", self.prefix + ":"))


class Registries(Record):
    nested: ClassVar[dict[str, type[Record]]] = {"rules": RegistryRule}

    search: list[str] = []
    aliases: dict[str, str] = {}
    rules: list[RegistryRule] = []

    def rule(self, name: str) -> RegistryRule | None:
        """The rule with the longest prefix that covers registry/repository."""
        fitting = [rule for rule in self.rules if rule.covers(name)]
        return max(fitting, key=lambda rule: len(rule.prefix), default=None)

    def candidates(self, reference: Reference) -> list[Reference]:
        """The full names that `reference` may mean, in the order to try them; never empty."""
        if reference.registry:
            return [reference.tagged()]
        alias = self.aliases.get(reference.repository)
        if alias:
            target = parse(alias)
            return [
                Reference(
                    registry=target.registry, repository=target.repository, tag=reference.tag, digest=reference.digest
                ).tagged()
            ]
        if not self.search:
            raise InvalidInput(
                f'short-name "{reference}" did not resolve to an alias and no unqualified-search registries are defined',
                hint=f"give the registry: docker.io/{reference.at('docker.io').repository}, or list registries in registries.conf",
            )
        return [reference.at(registry).tagged() for registry in self.search]


def _files() -> list[str]:
    if override := os.environ.get("CONTAINERS_REGISTRIES_CONF"):
        return [override]
    main = next(
        (p for p in ("/etc/containers/registries.conf", "/usr/share/containers/registries.conf") if os.path.exists(p)),
        None,
    )
    found = [main] if main else []
    for folder in ("/usr/share/containers/registries.conf.d", "/etc/containers/registries.conf.d"):
        if os.path.isdir(folder):
            found += sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".conf"))
    return found


def load() -> Registries:
    """Read the files in their order; later ones win. Where none has a search list, it is Docker Hub alone."""
    import tomllib

    registries = Registries(search=["docker.io"])
    rules: dict[str, RegistryRule] = {}
    for path in _files():
        try:
            with open(path, "rb") as file:
                document: dict[str, Any] = tomllib.load(file)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"{path}: {error}") from None
        if "unqualified-search-registries" in document:
            registries.search = [str(item) for item in document["unqualified-search-registries"]]
        registries.aliases.update({str(k): str(v) for k, v in (document.get("aliases") or {}).items()})
        for table in document.get("registry") or ():
            prefix = table.get("prefix") or table.get("location")
            if not prefix:
                raise InvalidInput(f"{path}: a [[registry]] has neither prefix nor location")
            rules[prefix] = RegistryRule(
                prefix=prefix,
                location=table.get("location", ""),
                insecure=bool(table.get("insecure")),
                blocked=bool(table.get("blocked")),
            )
    registries.rules = list(rules.values())
    return registries
