"""An image in the making."""

from __future__ import annotations

import copy

from podling.oci.image import host_platform, parse_platform
from podling.storage.changes import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context


class State:
    """`layer` is the topmost one (None: there is none yet), `document` the image's configuration, `key` a digest of all that led here.
    `arguments` are the ARGs that have been declared, `shell` what runs commands that are no JSON list."""

    def __init__(self, layer: int | None, document: dict[str, Any], key: str) -> None:
        self.layer, self.document, self.key = layer, copy.deepcopy(document), key
        self.arguments: dict[str, str] = {}
        self.shell: list[str] = self.config.get("Shell") or ["/bin/sh", "-c"]
        #: CMD was set since ENTRYPOINT was, or not at all
        self.command_is_own = False
        #: annotations of the base, and the name that it was asked by
        self.annotations: dict[str, str] = {}
        self.shown = ""
        #: how many of the layers are those of the image that it began with
        self.base_layers = 0

    @classmethod
    def empty(cls, key: str, wanted: str) -> State:
        """FROM scratch, for a platform, or for that of the host."""
        platform = parse_platform(wanted) if wanted else host_platform()
        document: dict[str, Any] = {
            "architecture": platform.architecture, "os": platform.os, "config": {}, "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        }  # fmt: skip
        if platform.variant:
            document["variant"] = platform.variant
        return cls(None, document, key)

    def fork(self) -> State:
        """The beginning of a stage on top of this one."""
        made = State(self.layer, self.document, self.key)
        made.shell, made.annotations, made.base_layers = list(self.shell), dict(self.annotations), self.base_layers
        made.shown = self.shown
        return made

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.document.setdefault("config", {})
        return config

    @property
    def environment(self) -> dict[str, str]:
        return dict(item.partition("=")[::2] for item in self.config.get("Env") or ())

    @property
    def variables(self) -> dict[str, str]:
        """What `$name` means: an ENV hides the ARG of its name."""
        return {**self.arguments, **self.environment}

    @property
    def workdir(self) -> str:
        return str(self.config.get("WorkingDir") or "/")

    def set_env(self, name: str, value: str) -> None:
        items = list(self.config.get("Env") or ())
        for position, item in enumerate(items):
            if item.partition("=")[0] == name:
                items[position] = f"{name}={value}"
                break
        else:
            items.append(f"{name}={value}")
        self.config["Env"] = items

    def view(self, ctx: Context) -> View:
        """The files so far; none without a layer."""
        if self.layer is None:
            return View([])
        keys = ctx.store.chain(self.layer)
        return View([f"{ctx.store.folder(key)}/diff" for key in (keys if ctx.store.driver.independent else keys[:1])])
