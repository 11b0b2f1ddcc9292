"""The image `localhost/busybox`: made here of the host's static busybox, so that the first container needs no network."""

from __future__ import annotations

import os

from podling.core.imagestore import image_of_tar
from podling.errors import NoSuchImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context

DEFAULT_IMAGE = "localhost/busybox:latest"


def make_default_image(ctx: Context) -> str:
    """The image `localhost/busybox`, made of the host's static busybox: no network, no registry."""
    import io
    import tarfile

    from podling.linux.process import run

    binary = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if os.access(path, os.X_OK)), None)
    if binary is None or not _is_static(binary):
        raise NoSuchImage(DEFAULT_IMAGE, hint="it is made of the host's static busybox: apt install busybox-static")
    applets = run([binary, "--list"], capture=True).stdout.decode().split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, mode in (
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("usr", 0o755),
            ("var", 0o755),
            ("home", 0o755),
        ):
            _tar_entry(out, name, tarfile.DIRTYPE, mode)
        with open(binary, "rb") as file:
            _tar_entry(out, "bin/busybox", tarfile.REGTYPE, 0o755, data=file.read())
        for applet in applets:
            if applet != "busybox":
                _tar_entry(out, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        for name in ("usr/bin", "sbin", "usr/sbin"):
            _tar_entry(out, name, tarfile.SYMTYPE, 0o777, link="../bin" if "/" in name else "bin")
        _tar_entry(
            out,
            "etc/passwd",
            tarfile.REGTYPE,
            0o644,
            data=b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        )
        _tar_entry(out, "etc/group", tarfile.REGTYPE, 0o644, data=b"root:x:0:\nnogroup:x:65534:\n")
    config = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    return image_of_tar(ctx, iter((buffer.getvalue(),)), config, f"made of {binary}", DEFAULT_IMAGE)


def _is_static(path: str) -> bool:
    """An ELF file without a PT_INTERP segment."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return (
        head.startswith(b"\x7fELF") and b"/ld-linux" not in head and b"/ld-musl" not in head and b"/lib/ld" not in head
    )


def _tar_entry(out: Any, name: str, kind: bytes, mode: int, *, data: bytes = b"", link: str = "") -> None:
    import io
    import tarfile

    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
    out.addfile(info, io.BytesIO(data))
