"""Units for systemd: the command that made something, taken apart; systemd's quoting; what Quadlet files are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from podling.units.quadlets import folders, unit_of
from podling.units.systemd import _command, line, quoted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["podling", "run", "-d", "--name", "web", "img", "sh", "-c", "ls -d --rm"], ["--name", "web", "img", "sh", "-c", "ls -d --rm"]),
        (["podling", "--root", "/x", "create", "--replace", "--name=web", "-it", "img"], ["--name=web", "-it", "img"]),
        (["podling", "container", "run", "-dit", "--rm", "--cidfile", "f", "--cidfile=g", "-eA=1", "-e", "d", "img"], ["-it", "-eA=1", "-e", "d", "img"]),
        (["podling", "run", "--privileged", "--detach=true", "-p8080:80", "-v", "/a:/b", "img", "--rm"], ["--privileged", "-p8080:80", "-v", "/a:/b", "img", "--rm"]),
        (["podling", "pod", "create", "--infra", "--replace", "-p", "80", "--name", "p"], ["--infra", "-p", "80", "--name", "p"]),
    ],
)  # fmt: skip
def test_the_command_that_made_it(words: list[str], expected: list[str]) -> None:
    assert _command(words, "x") == expected


def test_quoting() -> None:
    assert (
        quoted("plain") == "plain" and quoted("") == '""' and quoted("a b") == '"a b"' and quoted("100%") == '"100%%"'
    )
    assert quoted('say "$HOME"\n') == '"say \\"$$HOME\\"\\n"' and quoted("%t/x", specifiers=True) == "%t/x"
    assert line(["/bin/x"], ["--cidfile=%t/%n.id"], ["a b", "50%"]) == '/bin/x --cidfile=%t/%n.id "a b" "50%%"'


def test_names_of_quadlets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, unit in (
        ("a.container", "a.service"),
        ("a.kube", "a.service"),
        ("a.volume", "a-volume.service"),
        ("a.pod", "a-pod.service"),
    ):
        path = tmp_path / name
        path.write_text("[Container]\nImage=x\n")
        assert unit_of(str(path)) == unit
    path.write_text("[Pod]\nServiceName = other\n")
    assert unit_of(str(path)) == "other.service"
    monkeypatch.setenv("QUADLET_UNIT_DIRS", "/a:/b")
    assert folders() == ["/a", "/b"]
