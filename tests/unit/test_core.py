"""The small languages of options, filters, names, addresses, logs; the catalogue."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from podling.core import filters, parse
from podling.core.create import check_name, describe_ports
from podling.core.names import random_name
from podling.engine.catalogue import containers, images, lists, system
from podling.engine.catalogue.base import Operation
from podling.errors import Conflict, InvalidInput, PodlingError
from podling.network import ipam, names
from podling.oci.sizes import size
from podling.runtime import capabilities, logs, oci_runtime, seccomp
from podling.runtime.attach import Keys, parse_detach_keys
from podling.runtime.config import ContainerConfig, Port, Resources, Security
from podling.state.database import Database


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("512b", 512),
        ("1k", 1024),
        ("1.5m", 1572864),
        ("2G", 2 << 30),
        ("1gb", 1 << 30),
        ("3KiB", 3072),
        ("-1", -1),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert size(text, "--memory") == value


@pytest.mark.parametrize("text", ["", "x", "1x", "m", "1mm", "-2", "1 m", "0x10"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InvalidInput):
        size(text, "--memory")


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGKILL", 9), ("9", 9), ("usr1", 10), ("RTMIN+3", 37), ("RTMAX-1", 63), ("CLD", 17)],
)
def test_signals(text: str, number: int) -> None:
    assert parse.signal_number(text) == number


@pytest.mark.parametrize("text", ["", "NOSUCH", "0", "65", "RTMIN+99", "-1"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse.signal_number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [(80, 0, "", "tcp", 1)]),
        ("8080:80", [(80, 8080, "", "tcp", 1)]),
        ("127.0.0.1:8080:80/udp", [(80, 8080, "127.0.0.1", "udp", 1)]),
        ("127.0.0.1::80", [(80, 0, "127.0.0.1", "tcp", 1)]),
        ("[::1]:8080:80", [(80, 8080, "::1", "tcp", 1)]),
        ("8000-8002:80-82", [(80, 8000, "", "tcp", 3)]),
        ("53:53/udp,tcp", [(53, 53, "", "udp", 1), (53, 53, "", "tcp", 1)]),
    ],
)
def test_ports(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert [(p.container_port, p.host_port, p.host_ip, p.protocol, p.span) for p in parse.publish(text)] == expected


def test_ports_as_shown() -> None:
    config = ContainerConfig(id="x", name="x", resources=Resources(), security=Security(), exposed=["80/tcp", "90/tcp"])
    config.ports = [
        Port(container_port=80, host_port=8080),
        Port(container_port=1000, host_port=2000, span=3, host_ip="127.0.0.1"),
    ]
    assert describe_ports(config) == "0.0.0.0:8080->80/tcp, 127.0.0.1:2000-2002->1000-1002/tcp, 90/tcp"


def test_configs_survive_the_database() -> None:
    config = ContainerConfig(
        id="x",
        name="n",
        resources=Resources(memory=5),
        security=Security(cap_add=["A"]),
        ports=[Port(container_port=1)],
    )
    assert ContainerConfig.from_json(config.to_json()) == config


def test_mount_languages(tmp_path: Path) -> None:
    mount = parse.volume(f"{tmp_path}:/data:ro,z")
    assert (mount.kind, mount.source, mount.target, mount.options) == ("bind", str(tmp_path), "/data", ["ro", "z"])
    assert parse.volume("name:/data").name == "name"
    assert parse.volume("/data").kind == "volume"
    assert parse.mount("type=tmpfs,dst=/t,tmpfs-size=1m").options == ["size=1048576"]
    for text in ("a:b", "a:/b:c:d", ":/x", "/x:/", "bad name:/x", f"{tmp_path}:/x:nosuch"):
        with pytest.raises(InvalidInput):
            parse.volume(text)
    for text in ("type=nosuch,dst=/x", "type=bind,dst=/x", "dst=", "type=tmpfs,dst=/x,what=1"):
        with pytest.raises(InvalidInput):
            parse.mount(text)


def test_names() -> None:
    for name in ("a", "web-1", "A.b_c"):
        check_name(name)
    for name in ("", "-a", "a b", "a/b", "é"):
        with pytest.raises(InvalidInput):
            check_name(name)
    assert len({random_name() for _ in range(200)}) > 150
    check_name(random_name())


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("2d", 172800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert filters.duration(text) == int(seconds * 10**9)


def test_moments() -> None:
    now = 1_800_000_000 * 10**9
    assert filters.moment("10s", now) == now - 10 * 10**9
    assert filters.moment("1700000000", now) == 1_700_000_000 * 10**9
    assert filters.moment("2026-01-02", now) == 1767312000 * 10**9
    assert filters.moment("2026-01-02T03:04", now) == 1767322997 * 10**9 + 43 * 10**9
    for text in ("", "soon", "10", "1x"):
        if text != "10":
            with pytest.raises(InvalidInput):
                filters.moment(text, now)


def test_capabilities() -> None:
    default = capabilities.effective(privileged=False, add=[], drop=[])
    assert set(default) <= {f"CAP_{name}" for name in capabilities.DEFAULT}
    assert "CAP_NET_RAW" not in default
    assert capabilities.effective(privileged=False, add=["chown"], drop=["all"]) in (["CAP_CHOWN"], [])
    with pytest.raises(InvalidInput) as caught:
        capabilities.normalise("NET_ROW")
    assert caught.value.hint == "did you mean NET_RAW?"


def test_default_seccomp_profile() -> None:
    profile = seccomp.default_profile(["CAP_CHOWN"])
    by_name = {name: rule["action"] for rule in profile["syscalls"] for name in rule["names"] if not rule.get("args")}
    assert (
        by_name["read"] == "SCMP_ACT_ALLOW"
        and by_name["bpf"] == "SCMP_ACT_ERRNO"
        and by_name["init_module"] == "SCMP_ACT_ERRNO"
    )
    assert "nosuch_syscall" not in by_name and profile["defaultErrnoRet"] == 38
    admin = seccomp.default_profile(["CAP_SYS_ADMIN", "CAP_AUDIT_WRITE"])
    names_allowed = {name for rule in admin["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert {"bpf", "setns", "socket"} <= names_allowed
    program = seccomp.compile_bpf(profile)
    assert len(program) % 8 == 0 and len(program) > 800


def test_detach_keys() -> None:
    assert parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_detach_keys("a,ctrl-[,ctrl-@") == b"a\x1b\x00"
    assert parse_detach_keys("") == b""
    for text in ("ab", "ctrl-", "ctrl-1", ","):
        with pytest.raises(InvalidInput):
            parse_detach_keys(text)
    keys = Keys(b"\x10\x11")
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"c\x10\x10\x11d") == (b"\x10c\x10", True)


def test_runtime_failures_are_told_apart() -> None:
    def code(message: str) -> int:
        return oci_runtime.failure("x", message).exit_code

    assert code('{"msg": "executable file `x` not found in $PATH: No such file or directory", "level": "error"}') == 127
    assert code('exec: "x": executable file not found in $PATH: unknown') == 127
    assert code("open executable: Permission denied") == 126
    assert code("something else") == 126


def test_subnets_and_leases(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    network = {"name": "n", "subnets": [{"subnet": "10.0.0.0/29", "gateway": "10.0.0.1"}]}
    with database.write() as tx:
        keys = [
            tx.insert(
                "containers", id=str(n), name=str(n), image="", created=1, command="", config="{}", status="created"
            )
            for n in range(7)
        ]
        got = [ipam.lease(tx, network, key, [])[0] for key in keys[:5]]
        assert sorted(got) == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        with pytest.raises(Conflict, match="are in use"):
            ipam.lease(tx, network, keys[5], [])
        tx.run("DELETE FROM containers WHERE key=?", keys[0])
        assert ipam.lease(tx, network, keys[5], []) == [got[0]]
        with pytest.raises(InvalidInput):
            ipam.lease(tx, network, keys[6], ["10.9.9.9"])
    database.close()


def test_hosts_and_resolv() -> None:
    text = names.hosts(
        "127.0.0.1 localhost\n127.0.1.1 me\n10.1.1.1 a web # x\n",
        own=["10.0.0.2"],
        names=["box", "web"],
        host_address="10.0.0.1",
        added=["a;b:10.2.2.2"],
    )
    assert (
        text
        == "10.2.2.2\ta b\n127.0.0.1\tlocalhost\n10.0.0.1\thost.containers.internal host.docker.internal\n10.0.0.2\tbox web\n"
    )
    base = "# c\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n"
    assert (
        names.resolv(base, servers=[], search=[], options=[], own_network=True)
        == "search lan\nnameserver 192.0.2.1\noptions edns0\n"
    )
    assert (
        names.resolv(base, servers=["1.1.1.1"], search=["."], options=["x"], own_network=False)
        == "nameserver 1.1.1.1\noptions x\n"
    )


def _log(tmp_path: Path, lines: list[str]) -> str:
    path = tmp_path / "log"
    path.write_text(
        "".join(f"2026-01-02T03:04:{n:02d}.000000000+00:00 stdout {line}\n" for n, line in enumerate(lines))
    )
    return str(path)


def test_log_tail(tmp_path: Path) -> None:
    path = _log(tmp_path, ["F one", "P two-", "F half", "F three"])
    texts = [[line.text for line in logs.read_file(path, tail=count) if line] for count in range(5)]
    assert texts == [
        [],
        [b"three\n"],
        [b"two-", b"half\n", b"three\n"],
        [b"one\n", b"two-", b"half\n", b"three\n"],
        [b"one\n", b"two-", b"half\n", b"three\n"],
    ]


def test_log_tail_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CHUNK", 100)
    path = _log(tmp_path, [f"F line {n}" for n in range(40)])
    assert [line.text for line in logs.read_file(path, tail=7) if line] == [
        f"line {n}\n".encode() for n in range(33, 40)
    ]


def operations() -> list[type[Operation]]:
    return [
        value
        for family in (containers, images, lists, system)
        for value in vars(family).values()
        if inspect.isclass(value)
        and issubclass(value, Operation)
        and value.__module__ == family.__name__
        and value.executor
    ]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.__name__)
def test_every_operation_can_be_executed(operation: type[Operation]) -> None:
    module, _, name = operation.executor.partition(":")
    executor = getattr(__import__(f"podling.engine.execute.{module}", fromlist=[name]), name)
    assert list(inspect.signature(executor).parameters) == ["ctx", "op"]
    assert executor.__annotations__["op"] == f"ops.{operation.__name__}"
    assert operation.__doc__ or operation._fields or operation.__mro__[1] is Operation


def test_errors_have_references() -> None:
    def tree(kind: type[PodlingError]) -> list[type[PodlingError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    for kind in tree(PodlingError):
        assert (
            kind.reference and kind.reference == kind.reference.lower() and 125 <= kind.exit_code <= 255
        ) or kind.exit_code == 2
        assert 400 <= kind.status < 600


def test_log_text_is_the_same_both_ways(tmp_path: Path) -> None:
    """Whole lines, parts of lines, both streams, lines that are no lines."""
    lines = ["F one", "P two", "F  and a half", "F three", "", "F four"] * 50
    path = _log(tmp_path, lines)
    with open(path, "a") as file:
        file.write("2026-01-02T03:04:05.123456789+00:00 stderr F problem\nrubbish\n")
        file.write(
            "2026-01-02T03:04:05.123456789+00:00 stdout F last\n2026-01-02T03:04:05.123456789+00:00 stdout P no newline\n"
        )
    for tail in (-1, 0, 1, 3, 70):
        with open(tmp_path / "out", "w+b") as out, open(tmp_path / "err", "w+b") as err:
            logs.copy_text(path, out.fileno(), err.fileno(), tail=tail)
            out.seek(0), err.seek(0)
            found = [line for line in logs.read_file(path, tail=tail) if line]
            assert out.read() == b"".join(line.text for line in found if line.stream == "stdout")
            assert err.read() == b"".join(line.text for line in found if line.stream == "stderr")
