"""exec, attach and terminals, on a pseudo-terminal of ours."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"


class Terminal:
    """A command on a terminal of 33 rows and 111 columns, and what a person would type."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execv(argv[0], argv)
        self.resize(33, 111)
        self.output = b""
        self._seen = 0

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, text: bytes, seconds: float = 15) -> None:
        """Wait until `text` comes, after what was expected before."""
        deadline = time.monotonic() + seconds
        while (found := self.output.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.output!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 4096)
                except OSError:
                    raise AssertionError(f"{text!r} did not come: {self.output!r}") from None
        self._seen = found + len(text)

    def wait(self, seconds: float = 15) -> int:
        """Read on until the command ends; its exit code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.fd, 4096)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, 9)
        raise AssertionError(f"it did not end: {self.output!r}")


@pytest.fixture
def box(podling: Podling) -> Podling:
    podling.ok("run", "-d", "--name", "box", NONE, IMAGE, "sleep", "1000")
    return podling


def test_exec_output_input_and_code(box: Podling) -> None:
    done = box("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 6")
    assert (done.returncode, done.stdout, done.stderr) == (6, "out\n", "err\n")
    assert box.ok("exec", "-i", "box", "wc", "-c", input=b"x" * 100_000) == "100000"
    assert box.ok("exec", "box", "cat", input=b"not for you") == ""


def test_exec_options(box: Podling, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("B=2\n")
    text = box.ok(
        "exec",
        "-e",
        "A=1",
        "--env-file",
        str(tmp_path / "env"),
        "-w",
        "/tmp",
        "-u",
        "nobody",
        "box",
        "sh",
        "-c",
        "echo $A $B $PWD; id -u",
    )
    assert text.split() == ["1", "2", "/tmp", "65534"]
    assert "ffffff" in box.ok("exec", "--privileged", "box", "grep", "CapEff", "/proc/self/status")
    assert "00000000800405fb" in box.ok("exec", "box", "grep", "CapEff", "/proc/self/status")


def test_exec_errors(box: Podling) -> None:
    box.fails(127, "exec", "box", "nosuch")
    box.fails(126, "exec", "box", "/etc/passwd")
    box.fails(126, "exec", "-w", "/nowhere", "box", "ls")
    box.fails(125, "exec", "nosuch", "ls")
    box.fails(125, "exec", "box")
    box.ok("stop", "-t", "0", "box")
    box.fails(255, "exec", "box", "ls")


def test_exec_detached(box: Podling) -> None:
    session = box.ok("exec", "-d", "box", "sh", "-c", "echo done > /marker; sleep 100")
    assert len(session) == 64
    eventually(lambda: box("exec", "box", "cat", "/marker").stdout == "done\n")
    assert session in box.ok("inspect", "-f", "{{.ExecIDs}}", "box")


def test_terminal(podling: Podling) -> None:
    terminal = Terminal(podling.argv("run", "--rm", "-it", NONE, IMAGE, "sh"))
    terminal.expect(b"# ")
    terminal.type(b"stty size; tty; echo $TERM\r")
    terminal.expect(b"33 111")
    terminal.expect(b"xterm")
    terminal.resize(20, 50)
    time.sleep(0.3)
    terminal.type(b"stty size\r")
    terminal.expect(b"20 50")
    terminal.type(b"exit 5\r")
    assert terminal.wait() == 5


def test_terminal_fed_by_a_pipe_ends_with_it(podling: Podling) -> None:
    done = podling("run", "--rm", "-it", NONE, IMAGE, "cat", input=b"hi\n", timeout=20)
    assert done.returncode == 0 and done.stdout.count("hi") == 2 and "not a TTY" in done.stderr


def test_ctrl_c_reaches_the_container(podling: Podling) -> None:
    terminal = Terminal(
        podling.argv(
            "run",
            "--rm",
            "-it",
            NONE,
            IMAGE,
            "sh",
            "-c",
            "trap 'exit 42' INT; echo ready; while :; do sleep 0.05; done",
        )
    )
    terminal.expect(b"ready")
    terminal.type(b"\x03")
    assert terminal.wait() == 42


def test_detach_and_attach(podling: Podling) -> None:
    terminal = Terminal(podling.argv("run", "-it", "--name", "shell", NONE, IMAGE, "sh"))
    terminal.expect(b"# ")
    terminal.type(b"A=kept\r\x10\x11")
    assert terminal.wait() == 0
    assert podling.ok("ps", "--format", "{{.Names}}") == "shell"
    terminal = Terminal(podling.argv("attach", "shell"))
    time.sleep(0.7)
    terminal.type(b"echo $A\r")
    terminal.expect(b"kept")
    terminal.type(b"exit 3\r")
    assert terminal.wait() == 3
    assert podling.ok("inspect", "-f", "{{.State.ExitCode}}", "shell") == "3"


def test_other_detach_keys(podling: Podling) -> None:
    terminal = Terminal(podling.argv("run", "-it", "--name", "keys", "--detach-keys", "ctrl-x,d", NONE, IMAGE, "sh"))
    terminal.expect(b"# ")
    terminal.type(b"\x18d")
    assert terminal.wait() == 0
    assert podling.ok("ps", "-q")


def test_exec_with_terminal(box: Podling) -> None:
    terminal = Terminal(box.argv("exec", "-it", "box", "sh"))
    terminal.expect(b"# ")
    terminal.type(b"stty size\r")
    terminal.expect(b"33 111")
    terminal.type(b"exit 4\r")
    assert terminal.wait() == 4
    assert box.ok("inspect", "-f", "{{len .ExecIDs}}", "box") == "0"


def test_attach_without_terminal(podling: Podling) -> None:
    podling.ok("run", "-di", "--name", "reader", NONE, IMAGE, "sh", "-c", "while read x; do echo got $x; done; exit 2")
    done = subprocess.run(podling.argv("attach", "reader"), input=b"one\ntwo\n", capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, b"got one\ngot two\n")
    podling.fails(125, "attach", "reader")


def test_ctrl_c_of_run_without_terminal_stops_the_container(podling: Podling) -> None:
    process = podling.background(
        "run", "--rm", NONE, IMAGE, "sh", "-c", "trap 'exit 8' INT; echo ready; while :; do sleep 0.05; done"
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.send_signal(2)
    assert process.wait(20) == 8
