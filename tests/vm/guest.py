"""A Debian guest with systemd, cgroup v2 and a kernel that CRIU can dump on, for what the host cannot show.

    python -m tests.vm.guest [COMMAND …]     run a command in a fresh guest, with this checkout in /src

The image is built once by mmdebstrap and kept in $PODLING_GUEST, or ~/.cache/podling-guest; a guest's changes to it are lost. QEMU emulates
the processor where /dev/kvm does not serve.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv dbus-user-session libpam-systemd python3 crun runc criu conmon netavark aardvark-dns passt slirp4netns "
    "uidmap catatonit fuse-overlayfs iptables nftables busybox-static libseccomp2 ca-certificates iproute2 kmod procps curl apparmor "
    "selinux-policy-default e2fsprogs xfsprogs nfs-kernel-server"
)
PYTHON = "3.11"  # the suite's
WHEELS = "urllib3 isal zstandard cryptography pynacl fastcrc pyyaml rich aiohttp pytest>=8,<9 pytest-xdist>=3.5"
#: in this order, for the initial ramdisk
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
_LOADED = "virtio_net overlay fuse tun veth bridge nf_tables iptable_nat iptable_filter ip6table_filter xt_MASQUERADE xt_comment xt_conntrack"

_KERNEL = """
set -e
apt-get -qq update; mkdir /tmp/kernel; cd /tmp/kernel
apt-get -qq download "$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image-[^ ]*\\).*/\\1/p' | head -1)"
dpkg-deb -x ./*.deb x; cp -a x/boot/. /boot/; mkdir -p /usr/lib/modules; cp -a x/lib/modules/. /usr/lib/modules/
depmod "$(ls /usr/lib/modules)"; cd /; rm -rf /tmp/kernel
"""

_SETUP = f"""
set -e
cd "$1"
echo guest >etc/hostname
printf 'SELINUX=permissive\\nSELINUXTYPE=default\\n' >etc/selinux/config
printf '127.0.0.1 localhost\\n127.0.1.1 guest\\n' >etc/hosts
printf '%s\\n' {_LOADED} >etc/modules-load.d/podling.conf
cat >etc/systemd/system/job.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
ExecStartPre=-/bin/sh -c 'ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2'
ExecStart=/bin/sh -c 'mkdir -p /src /out; tar -C /src -xf /dev/vdb; cd /src; {{ sh ./.job; echo $$? >/out/code; }} 2>&1 | tee /out/log >/dev/ttyS1; tar -C /out -cf /dev/vdc .; sync'
ExecStopPost=/usr/bin/systemctl --no-block poweroff --force
TimeoutStartSec=infinity
UNIT
mkdir -p etc/systemd/system/graphical.target.wants etc/systemd/system/multi-user.target.wants
ln -s ../job.service etc/systemd/system/multi-user.target.wants/job.service
sed -i 's/^After=.*/After=basic.target systemd-user-sessions.service/' etc/systemd/system/job.service
ln -s /dev/null etc/systemd/system/systemd-timesyncd.service
ln -s /dev/null etc/systemd/system/apt-daily.timer
ln -s /dev/null etc/systemd/system/systemd-networkd-wait-online.service
ln -s /dev/null etc/systemd/system/e2scrub_reap.service
rm -rf var/cache/apt/* var/lib/apt/lists/*
"""

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""


def cache() -> Path:
    """The folder of the image that this recipe makes."""
    recipe = hashlib.sha256(
        "\0".join((SUITE, PACKAGES, _KERNEL, _SETUP, _INIT, " ".join(_MODULES), WHEELS)).encode()
    ).hexdigest()
    base = os.environ.get("PODLING_GUEST") or os.path.expanduser("~/.cache/podling-guest")
    return Path(base) / recipe[:16]


def build() -> Path:
    """Make the guest's image unless it is there; its folder."""
    folder = cache()
    if (folder / "disk").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root = Path(scratch) / "root"
        command = [
            "mmdebstrap", "--quiet", "--variant=apt", "--components=main", f"--include={','.join(PACKAGES.split())}",
            "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*", f"--customize-hook=chroot \"$1\" sh -c {shlex.quote(_KERNEL)}",
            f"--customize-hook={_SETUP}", SUITE, str(root),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        pip = [
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--only-binary=:all:",
            "--platform=manylinux2014_x86_64",
        ]
        site = f"--target={root}/usr/lib/python3/dist-packages"
        subprocess.run([sys.executable, *pip, f"--python-version={PYTHON}", site, *WHEELS.split()], check=True)
        shutil.copy(next(root.glob("boot/vmlinuz-*")), folder / "kernel")
        _initial_ramdisk(root, Path(scratch), folder / "initrd")
        disk = Path(scratch) / "disk"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m0", "-d", str(root), str(disk), "4G"], check=True
        )
        disk.rename(folder / "disk")
    return folder


def _initial_ramdisk(root: Path, scratch: Path, target: Path) -> None:
    tree = scratch / "initrd"
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    found = []
    for name in _MODULES:
        for path in root.glob(f"usr/lib/modules/*/kernel/**/{name}.ko"):
            shutil.copy(path, tree / "modules" / path.name)
            found.append(name)
    (tree / "init").write_text(_INIT.format(modules=" ".join(found)))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))) + "\n"
    with target.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=out, check=True)


def run(command: str, seconds: float = 300, *, selinux: bool = False) -> tuple[int, str]:
    """Run a shell command in /src of a fresh guest: (exit code, output). 124 when the time is over. With `selinux` it has that,
    permissive, instead of AppArmor."""
    folder = build()
    checkout = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as scratch:
        job, out, console, progress = (Path(scratch) / name for name in ("job", "out", "console", "progress"))
        (Path(scratch) / ".job").write_text(command + "\n")
        with tarfile.open(job, "w") as tar:
            tar.add(Path(scratch) / ".job", ".job")
            for name in ("src", "tests", "pyproject.toml", "bench", "systemd"):
                tar.add(checkout / name, name, filter=_plain)
        with out.open("wb") as file:
            file.truncate(64 << 20)
        fast = (
            ["-accel", "kvm", "-cpu", "host"]
            if os.environ.get("PODLING_GUEST_KVM")
            else ["-accel", "tcg,thread=multi", "-cpu", "max"]
        )
        security = " security=selinux selinux=1 enforcing=0" if selinux else ""
        argv = [
            "qemu-system-x86_64", "-M", "q35", *fast, "-smp", "2", "-m", "2048", "-display", "none", "-nodefaults", "-no-reboot",
            "-nic", "user,model=virtio-net-pci,restrict=on",
            "-serial", f"file:{console}", "-serial", f"file:{progress}", "-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd"),
            "-append", f"console=ttyS0 panic=-1 quiet systemd.show_status=0 mitigations=off systemd.unified_cgroup_hierarchy=1{security}",
            *_drive(folder / "disk", "snapshot=on"), *_drive(job, "readonly=on"), *_drive(out, "cache=unsafe"),
        ]  # fmt: skip
        try:
            subprocess.run(argv, check=True, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return 124, console.read_text(errors="replace") + progress.read_text(errors="replace")
        try:
            with tarfile.open(out) as tar:
                texts = {name: tar.extractfile(f"./{name}") for name in ("log", "code")}
                log, code = (file.read().decode(errors="replace") if file else "" for file in texts.values())
        except tarfile.TarError:
            return 125, console.read_text(errors="replace")
        return int(code), log


def _drive(path: Path, options: str) -> list[str]:
    return ["-drive", f"file={path},format=raw,if=virtio,{options}"]


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in info.name else info


if __name__ == "__main__":
    exit_code, text = run(shlex.join(sys.argv[1:]) if len(sys.argv) > 2 else " ".join(sys.argv[1:]) or "true", 600)
    print(text, end="")
    sys.exit(exit_code)
