"""Operations on images and registries."""

from __future__ import annotations

from podling.core.options import RegistryAccess
from podling.engine.catalogue.base import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class RegistryOperation(Operation):
    """With the options of every command that talks to a registry; their meaning is in `core.access.RegistryAccess`."""

    creds: str = ""
    authfile: str = ""
    tls_verify: bool | None = None
    cert_dir: str = ""
    retries: int = 3
    retry_delay: str = ""

    @property
    def access(self) -> RegistryAccess:
        return RegistryAccess(**{name: getattr(self, name) for name in RegistryAccess._fields})


class SigningOperation(RegistryOperation):
    """With who signs: a GPG key's name, a sigstore private key's file, the file with its passphrase."""

    sign_by: str = ""
    sign_by_sigstore: str = ""
    sign_passphrase_file: str = ""


class PullImage(RegistryOperation):
    executor: ClassVar = "images:pull"
    route: ClassVar = "POST /libpod/images/pull"
    name: str
    policy: str = "always"
    platform: str = ""
    decryption_keys: list[str] = []
    all_tags: bool = False
    signature_policy: str = ""


class PushImage(SigningOperation):
    executor: ClassVar = "images:push"
    route: ClassVar = "POST /libpod/images/{name}/push"
    name: str
    target: str = ""
    format: str = ""
    compression: str = ""
    compression_level: int | None = None
    force_compression: bool = False
    compress: bool = False
    encryption_keys: list[str] = []
    encrypt_layers: list[int] = []
    remove_signatures: bool = False


class SearchImages(RegistryOperation):
    executor: ClassVar = "registries:search"
    route: ClassVar = "GET /libpod/images/search"
    writes: ClassVar = False
    term: str
    limit: int = 0
    filters: list[str] = []
    list_tags: bool = False


class Login(RegistryOperation):
    executor: ClassVar = "registries:login"
    local: ClassVar = True
    route: ClassVar = "POST /auth"
    registry: str = ""
    username: str
    password: str
    compat_auth_file: str = ""


class LoginName(Operation):
    """Who is logged in."""

    executor: ClassVar = "registries:login_name"
    local: ClassVar = True
    route: ClassVar = ""
    writes: ClassVar = False
    registry: str = ""
    authfile: str = ""


class Logout(Operation):
    executor: ClassVar = "registries:logout"
    local: ClassVar = True
    route: ClassVar = ""
    registry: str = ""
    authfile: str = ""
    compat_auth_file: str = ""
    all: bool = False


class ListImages(Operation):
    executor: ClassVar = "images:list_images"
    route: ClassVar = "GET /libpod/images/json"
    writes: ClassVar = False
    names: list[str] = []
    filters: list[str] = []
    all: bool = False
    history: bool = False


class RemoveImages(Operation):
    executor: ClassVar = "images:remove"
    route: ClassVar = "DELETE /libpod/images/remove"
    names: list[str] = []
    force: bool = False
    all: bool = False
    ignore: bool = False
    prune: bool = True


class TagImage(Operation):
    executor: ClassVar = "images:tag"
    route: ClassVar = "POST /libpod/images/{name}/tag"
    name: str
    targets: list[str]


class UntagImage(Operation):
    executor: ClassVar = "images:untag"
    route: ClassVar = "POST /libpod/images/{name}/untag"
    name: str
    targets: list[str] = []


class InspectImage(Operation):
    executor: ClassVar = "images:inspect"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/images/{name}/json"
    writes: ClassVar = False
    name: str


class ImageHistory(Operation):
    executor: ClassVar = "images:history"
    route: ClassVar = "GET /libpod/images/{name}/history"
    writes: ClassVar = False
    name: str


class ImageExists(Operation):
    executor: ClassVar = "images:exists"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/images/{name}/exists"
    writes: ClassVar = False
    name: str


class LoadImages(Operation):
    """From the file `path`, or from the descriptor `fd`."""

    executor: ClassVar = "images:load"
    inputs: ClassVar = ("fd",)
    route: ClassVar = "POST /libpod/images/load"
    path: str = ""
    fd: int = -1
    signature_policy: str = ""


class SaveImages(Operation):
    executor: ClassVar = "images:save"
    outputs: ClassVar = ("fd",)
    route: ClassVar = "GET /libpod/images/export"
    names: list[str]
    path: str = ""
    fd: int = -1
    format: str = "docker-archive"
    compress: bool = False
    uncompressed: bool = False


class ImportImage(Operation):
    executor: ClassVar = "images:import_image"
    inputs: ClassVar = ("fd",)
    route: ClassVar = "POST /libpod/images/import"
    path: str = ""
    fd: int = -1
    name: str = ""
    changes: list[str] = []
    message: str = ""
    platform: str = ""


class PruneImages(Operation):
    executor: ClassVar = "images:prune"
    route: ClassVar = "POST /libpod/images/prune"
    all: bool = False
    filters: list[str] = []
    build_cache: bool = False


class ImageTree(Operation):
    executor: ClassVar = "images:tree"
    route: ClassVar = "GET /libpod/images/{name}/tree"
    writes: ClassVar = False
    name: str
    dependants: bool = False


class MountImages(Operation):
    executor: ClassVar = "images:mount"
    route: ClassVar = ""
    names: list[str] = []
    all: bool = False


class UnmountImages(Operation):
    executor: ClassVar = "images:unmount"
    route: ClassVar = ""
    names: list[str] = []
    all: bool = False
    force: bool = False


class Diff(Operation):
    """`kind`: container, image, or "" for whichever it is."""

    executor: ClassVar = "images:diff"
    route: ClassVar = "GET /libpod/images/{name}/changes"
    writes: ClassVar = False
    name: str
    other: str = ""
    kind: str = ""


class SignImages(RegistryOperation):
    executor: ClassVar = "registries:sign"
    route: ClassVar = ""
    names: list[str]
    sign_by: str
    directory: str = ""
    all: bool = False


class ShowTrust(Operation):
    executor: ClassVar = "registries:show_trust"
    route: ClassVar = ""
    writes: ClassVar = False
    registry: str = ""
    policy_path: str = ""
    registries_path: str = ""


class SetTrust(Operation):
    executor: ClassVar = "registries:set_trust"
    route: ClassVar = ""
    registry: str
    type: str = "signedBy"
    keys: list[str] = []
    policy_path: str = ""


class CopyImage(Operation):
    """Between this store and a host's or a user's, over ssh or sudo."""

    executor: ClassVar = "registries:scp"
    route: ClassVar = "POST /libpod/images/scp/{name}"
    source: str
    target: str = ""
