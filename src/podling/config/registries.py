"""registries.conf (containers-registries.conf(5)): search list, short-name aliases and mode, prefixes, mirrors, blocking.

Files of version 2, with drop-in folders; of version 1 the three lists are understood.
"""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.linux.proc import outer_uid
from podling.oci.record import Record
from podling.oci.reference import Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

MODES = ("enforcing", "permissive", "disabled")
_MIRROR_USES = ("all", "digest-only", "tag-only")


class Mirror(Record):
    """One [[registry.mirror]] table; `use` is all, digest-only or tag-only."""

    location: str
    insecure: bool = False
    use: str = "all"

    def serves(self, reference: Reference) -> bool:
        return self.use == "all" or (self.use == "digest-only") == bool(reference.digest)


class Rule(Record):
    """One [[registry]] table."""

    nested: ClassVar[dict[str, type[Record]]] = {"mirrors": Mirror}

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: list[Mirror] = []

    def match(self, name: str) -> int:
        """How many characters of registry/repository the prefix covers; 0 when it does not fit."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0]
            wanted = self.prefix[1:]
            if "/" in wanted:
                wanted, _, path = wanted.partition("/")
                rest = name[len(host) + 1 :]
                fits = host.endswith(wanted) and (rest == path or rest.startswith(path + "/"))
                return len(host) + 1 + len(path) if fits else 0
            return len(host) if host.endswith(wanted) else 0
        fits = name == self.prefix or name.startswith((self.prefix + "/", self.prefix + ":"))
        return len(self.prefix) if fits else 0

    def moved(self, reference: Reference, location: str) -> Reference:
        """The reference with the prefix replaced by `location`."""
        if not location:
            return reference
        target = parse(location + reference.name[self.match(reference.name) :])
        return Reference(
            registry=target.registry, repository=target.repository, tag=reference.tag, digest=reference.digest
        )


class Endpoint(Record):
    """A place to fetch an image from."""

    nested: ClassVar[dict[str, type[Record]]] = {"reference": Reference}

    reference: Reference
    insecure: bool = False
    is_mirror: bool = False


class Registries(Record):
    nested: ClassVar[dict[str, type[Record]]] = {"rules": Rule}

    search: list[str] = []
    aliases: dict[str, str] = {}
    rules: list[Rule] = []
    mode: str = "permissive"
    helpers: list[str] = []

    def rule(self, name: str) -> Rule | None:
        """The rule with the longest prefix that covers registry/repository."""
        fitting = [rule for rule in self.rules if rule.match(name)]
        return max(fitting, key=lambda rule: len(rule.prefix), default=None)

    def is_insecure(self, registry: str) -> bool:
        rule = self.rule(registry)
        return bool(rule and rule.insecure)

    def endpoints(self, reference: Reference, *, push: bool = False) -> list[Endpoint]:
        """Where to look for a full name: its mirrors in their order, then the place itself.

        Raises:
            InvalidInput: the registry is blocked.
        """
        rule = self.rule(reference.name)
        if rule is None:
            return [Endpoint(reference=reference)]
        if rule.blocked:
            raise InvalidInput(
                f"registry {rule.prefix} is blocked in registries.conf", hint="ask the administrator of this host"
            )
        mirrors = [] if push else [mirror for mirror in rule.mirrors if mirror.serves(reference)]
        found = [
            Endpoint(reference=rule.moved(reference, mirror.location), insecure=mirror.insecure, is_mirror=True)
            for mirror in mirrors
        ]
        found.append(Endpoint(reference=rule.moved(reference, rule.location), insecure=rule.insecure))
        return found

    def alias(self, reference: Reference) -> Reference | None:
        """The full name that a short one is an alias of, unless the mode is disabled."""
        target = self.aliases.get(reference.repository) if self.mode != "disabled" else None
        if not target:
            return None
        known = parse(target)
        return Reference(
            registry=known.registry, repository=known.repository, tag=reference.tag, digest=reference.digest
        ).tagged()

    def candidates(self, reference: Reference) -> list[Reference]:
        """The full names that `reference` may mean, in the order to try them; never empty.

        Raises:
            InvalidInput: a short name, and nothing says where to look for it.
        """
        if reference.registry:
            return [reference.tagged()]
        if known := self.alias(reference):
            return [known]
        if not self.search:
            raise InvalidInput(
                f'short-name "{reference}" did not resolve to an alias and no unqualified-search registries are defined',
                hint=f"give the registry: docker.io/{reference.at('docker.io').repository}, or list registries in registries.conf",
            )
        return [reference.at(registry).tagged() for registry in self.search]


def alias_cache() -> str:
    """The file that remembers which full name a person chose for a short one."""
    if outer_uid() == 0:
        return "/var/cache/containers/short-name-aliases.conf"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "containers/short-name-aliases.conf")


def remember_alias(short: str, full: str) -> None:
    """Add an alias to the cache; a cache that cannot be written is no error."""
    path = alias_cache()
    try:
        known = _read(path).get("aliases") or {} if os.path.exists(path) else {}
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lines = [f'"{key}" = "{value}"' for key, value in sorted({**known, short: full}.items())]
        with open(f"{path}.{os.getpid()}", "w") as file:
            file.write("[aliases]\n" + "\n".join(lines) + "\n")
        os.rename(f"{path}.{os.getpid()}", path)
    except (OSError, InvalidInput):
        pass


def _files() -> list[str]:
    if override := os.environ.get("CONTAINERS_REGISTRIES_CONF"):
        return [override, *_drop_ins([os.environ.get("CONTAINERS_REGISTRIES_CONF_DIR", "")])]
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = [os.path.join(config, "containers/registries.conf")] if outer_uid() else []
    main = next(
        (p for p in (*own, "/etc/containers/registries.conf", "/usr/share/containers/registries.conf") if os.path.exists(p)),
        None,
    )  # fmt: skip
    found = [main] if main else []
    folders = ["/usr/share/containers/registries.conf.d", "/etc/containers/registries.conf.d"]
    if outer_uid():
        folders.append(os.path.join(config, "containers/registries.conf.d"))
    return found + _drop_ins(folders) + [path for path in (alias_cache(),) if os.path.exists(path)]


def _drop_ins(folders: list[str]) -> list[str]:
    found = []
    for folder in folders:
        if folder and os.path.isdir(folder):
            found += sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".conf"))
    return found


def _read(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path}: {error}") from None


def load() -> Registries:
    """Read the files in their order; later ones win. Where none has a search list, it is Docker Hub alone.

    Raises:
        InvalidInput: a file that is no TOML, or a table that makes no sense; the message names the file.
    """
    registries = Registries(search=["docker.io"])
    rules: dict[str, Rule] = {}
    for path in _files():
        document = _read(path)
        if "registries" in document:
            _version_1(path, document, registries, rules)
            continue
        if "unqualified-search-registries" in document:
            registries.search = [str(item) for item in document["unqualified-search-registries"]]
        if mode := document.get("short-name-mode"):
            if mode not in MODES:
                raise InvalidInput(f"{path}: short-name-mode {mode!r}", hint=f"the modes are {', '.join(MODES)}")
            registries.mode = mode
        registries.helpers = [str(item) for item in document.get("credential-helpers") or registries.helpers]
        registries.aliases.update({str(k): str(v) for k, v in (document.get("aliases") or {}).items()})
        for table in document.get("registry") or ():
            rule = _rule(path, table)
            rules[rule.prefix] = rule
    registries.rules = list(rules.values())
    return registries


def _rule(path: str, table: dict[str, Any]) -> Rule:
    prefix = str(table.get("prefix") or table.get("location") or "")
    if not prefix:
        raise InvalidInput(f"{path}: a [[registry]] has neither prefix nor location")
    location = str(table.get("location") or "")
    if not location and not prefix.startswith("*."):
        raise InvalidInput(f"{path}: the [[registry]] {prefix} has no location", hint='add: location = "…"')
    if "*" in prefix.removeprefix("*.") or (prefix.startswith("*") and not prefix.startswith("*.")):
        raise InvalidInput(f"{path}: prefix {prefix!r}: a star stands only at the start, as in *.example.com")
    by_digest = bool(table.get("mirror-by-digest-only"))
    mirrors = []
    for item in table.get("mirror") or ():
        use = str(item.get("pull-from-mirror") or ("digest-only" if by_digest else "all"))
        if use not in _MIRROR_USES:
            raise InvalidInput(f"{path}: pull-from-mirror {use!r}", hint=f"it is {', '.join(_MIRROR_USES)}")
        if by_digest and use != "digest-only":
            raise InvalidInput(f"{path}: {prefix}: mirror-by-digest-only and pull-from-mirror contradict each other")
        if not item.get("location"):
            raise InvalidInput(f"{path}: a [[registry.mirror]] of {prefix} has no location")
        mirrors.append(Mirror(location=str(item["location"]).rstrip("/"), insecure=bool(item.get("insecure")), use=use))
    return Rule(
        prefix=prefix.rstrip("/"), location=location.rstrip("/"), insecure=bool(table.get("insecure")),
        blocked=bool(table.get("blocked")), mirrors=mirrors,
    )  # fmt: skip


def _version_1(path: str, document: dict[str, Any], registries: Registries, rules: dict[str, Rule]) -> None:
    """[registries.search], [registries.insecure] and [registries.block], each with a list `registries`."""
    if "registry" in document or "unqualified-search-registries" in document:
        raise InvalidInput(f"{path}: mixes version 1 and version 2", hint="use [[registry]] tables alone")
    tables = document["registries"]
    listed = {kind: [str(name) for name in (tables.get(kind) or {}).get("registries") or ()] for kind in tables}
    registries.search = listed.get("search") or registries.search
    for name in {*listed.get("insecure", ()), *listed.get("block", ())}:
        rules[name] = Rule(
            prefix=name,
            location=name,
            insecure=name in listed.get("insecure", ()),
            blocked=name in listed.get("block", ()),
        )
