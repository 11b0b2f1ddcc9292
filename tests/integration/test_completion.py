"""Completion, in real shells where they are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling


@pytest.fixture
def bare(podling: Podling) -> Podling:
    """A client whose own flags are words of the line to complete."""
    client = Podling(podling.root)
    flags, client.flags = client.flags, []
    client.complete = lambda *words: [  # type: ignore[attr-defined]
        line.partition("\t")[0] for line in client.ok("__complete", *flags, *words).splitlines()
    ]
    return client


def test_candidates(podling: Podling, bare: Podling) -> None:
    complete = bare.complete  # type: ignore[attr-defined]
    podling.ok("run", "-d", "--name", "runs", "--network=none", IMAGE, "sleep", "100")
    podling.ok("create", "--name", "rests", "--network=none", IMAGE, "true")
    podling.ok("volume", "create", "vol")
    assert complete("ru") == ["run"]
    assert {"ls", "rm"} <= set(complete("network", ""))
    assert set(complete("system", "connection", "")) >= {"add", "list", "remove"}
    assert complete("stop", "") == ["runs"]
    assert set(complete("rm", "")) == {"runs", "rests"} and complete("rm", "runs", "") == ["rests"]
    assert complete("rm", "-f", "re") == ["rests"]
    assert complete("run", "--network", "po") == ["podman"] and "host" in complete("run", "--network", "")
    assert complete("run", "--pull=n") == ["--pull=never", "--pull=newer"]
    assert complete("run", "--rm", "-v", "") == [":files"]
    assert complete("run", "--rm", "localhost/b") == [IMAGE]
    assert complete("run", IMAGE, "") == [":files"]
    assert complete("cp", "ru") == ["runs:"] and complete("cp", "runs:/e") == [":files"]
    assert "vol" in complete("volume", "rm", "v")
    assert complete("network", "connect", "podman", "r") == ["runs", "rests"] or complete(
        "network", "connect", "podman", "r"
    ) == ["rests", "runs"]
    assert complete("exec", "--us") == ["--user"]
    assert complete("nothing", "") == [] and complete("--nothing", "x", "") == []
    assert complete("--log-level", "de") == ["debug"]
    assert complete("load", "-i", "") == [":files"]
    podling.ok("volume", "rm", "vol")


def test_bash(bare: Podling, tmp_path: Path) -> None:
    script = tmp_path / "podling.bash"
    assert bare.ok("completion", "-f", str(script), "bash") == ""
    (tmp_path / "podling").write_text("#!/bin/sh\nexec " + " ".join(bare.argv()) + ' "$@"\n')
    (tmp_path / "podling").chmod(0o755)
    line = f'. {script}; COMP_WORDS=(podling volume in); COMP_CWORD=2; _podling; echo "${{COMPREPLY[@]}}"'
    env = {**bare.env, "PATH": f"{tmp_path}:{bare.env['PATH']}"}
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env).stdout == "inspect\n"
    assert "unknown" not in bare.ok("completion", "--no-desc", "bash") and "__completeNoDesc" in bare.ok(
        "completion", "--no-desc", "bash"
    )


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_other_shells(bare: Podling, tmp_path: Path, shell: str) -> None:
    text = bare.ok("completion", shell)
    assert "__complete" in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    if shell == "fish" and shutil.which("fish"):
        (tmp_path / "podling").write_text("#!/bin/sh\nexec " + " ".join(bare.argv()) + ' "$@"\n')
        (tmp_path / "podling").chmod(0o755)
        env = {**bare.env, "PATH": f"{tmp_path}:{bare.env['PATH']}", "HOME": str(tmp_path)}
        done = subprocess.run(
            ["fish", "-c", f"source {tmp_path}/script; complete -C 'podling volume in'"],
            capture_output=True,
            text=True,
            env=env,
        )
        assert done.stdout.startswith("inspect\t"), done.stderr


def test_a_shell_that_nobody_knows(bare: Podling) -> None:
    assert "bash, zsh, fish, powershell" in bare.fails(125, "completion", "csh")
