"""Builds: Containerfiles to images, kept steps, contexts, what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import IMAGE, Podling, eventually


@pytest.fixture(autouse=True)
def tidy(session_store: Podling) -> Iterator[None]:
    """The store is shared with other tests, which count its images and layers: nothing of a build stays."""
    yield
    names = session_store.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    made = [name for name in names if name not in (f"{IMAGE}:latest", "<none>:<none>")]
    if made:
        session_store.ok("rmi", "-f", *dict.fromkeys(made))
    session_store.ok("image", "prune", "-f")
    session_store.ok("system", "prune", "-f", "--build")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a\n")
    (folder / "sub" / "b.txt").write_text("b\n")
    return folder


@pytest.fixture
def own(podling: Podling, fresh: Podling, tmp_path: Path) -> Podling:
    """A store of its own with the base image."""
    podling.ok("save", "-q", "-o", str(tmp_path / "base.tar"), IMAGE)
    fresh.ok("load", "-q", "-i", str(tmp_path / "base.tar"))
    return fresh


def folders(podling: Podling) -> list[str]:
    """The layers on the disk."""
    return sorted(path.name for path in (Path(podling.root) / "root" / "overlay").iterdir())


def build(podling: Podling, context: Path, text: str, *flags: str, code: int = 0) -> str:
    """Build; what was printed. With a code it must fail so, and the error is the result."""
    (context / "Containerfile").write_text(text.replace("BASE", IMAGE))
    if code:
        return podling.fails(code, "build", *flags, str(context))
    return podling.ok("build", *flags, str(context))


def config(podling: Podling, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(podling.ok("image", "inspect", name))[0]["Config"]
    return document


def shell(podling: Podling, image: str, script: str, *flags: str) -> str:
    return podling.ok("run", "--rm", "--network=none", *flags, image, "sh", "-c", script)


# -- instructions
def test_an_image_of_all_instructions(podling: Podling, context: Path) -> None:
    text = """
ARG TAG=latest
FROM BASE
ARG WHO=world
ARG HTTP_PROXY
MAINTAINER somebody
ENV GREETING="hello $WHO" LIST=a:b
ENV OLD form of env
LABEL one=1 two="2 $WHO"
WORKDIR /app/$WHO
WORKDIR sub
COPY a.txt sub/*.txt ./
ADD a.txt /added
RUN echo "$GREETING $WHO" > said
RUN ["sh", "-c", "echo '$GREETING' > /literal"]
EXPOSE 80 90-91/udp
VOLUME ["/data", "/more"]
USER 1000:1000
STOPSIGNAL SIGINT
ENTRYPOINT ["cat"]
CMD ["said"]
"""
    out = build(podling, context, text, "-t", "all", "--build-arg", "WHO=you", "--network=none")
    assert out.splitlines()[-2] == "Successfully tagged localhost/all:latest" and len(out.splitlines()[-1]) == 64
    assert "STEP 11/19: ADD a.txt /added" in out
    made = config(podling, "all")
    assert made["Env"] == ["GREETING=hello you", "LIST=a:b", "OLD=form of env"] or "GREETING=hello you" in made["Env"]
    assert made["WorkingDir"] == "/app/you/sub" and made["User"] == "1000:1000" and made["StopSignal"] == "SIGINT"
    assert made["Labels"] == {"one": "1", "two": "2 you"} and made["Entrypoint"] == ["cat"] and made["Cmd"] == ["said"]
    assert sorted(made["ExposedPorts"]) == ["80/tcp", "90/udp", "91/udp"] and sorted(made["Volumes"]) == [
        "/data",
        "/more",
    ]
    assert podling.ok("run", "--rm", "--network=none", "all") == "hello you you"
    assert (
        shell(podling, "all", "cat a.txt b.txt /added /literal; stat -c %u:%g a.txt", "--entrypoint=")
        == "a\nb\na\n$GREETING\n0:0"
    )
    assert podling.ok("image", "inspect", "-f", "{{.Author}}", "all") == "somebody"
    steps = podling.ok("history", "--no-trunc", "--format", "{{.CreatedBy}}", "all").splitlines()
    assert steps[0] == '/bin/sh -c #(nop) CMD ["said"]' and any(
        step.startswith("|") and "WHO=you" in step for step in steps
    )


def test_stages(podling: Podling, context: Path) -> None:
    text = """
FROM BASE AS tools
RUN echo tool > /tool && mkdir /d && ln -s /tool /d/link && chown 5:6 /tool
FROM BASE AS unused
RUN exit 9
FROM tools AS more
RUN echo more >> /tool
FROM scratch
COPY --from=tools /tool /one
COPY --from=2 /tool /two
COPY --from=BASE /bin/busybox /bin/sh
COPY --from=tools /d /d
"""
    out = build(podling, context, text, "-t", "staged", "--network=none")
    assert "[3/3] STEP 1/5: FROM scratch" in out and "exit 9" not in out
    assert (
        shell(podling, "staged", "read a < /one; echo $a; while read a; do echo $a; done < /two") == "tool\ntool\nmore"
    )
    build(podling, context, text, "-t", "more", "--target", "more", "--network=none")
    assert shell(podling, "more", "cat /tool; stat -c %u:%g /tool; readlink /d/link") == "tool\nmore\n5:6\n/tool"
    assert "was not found" in build(podling, context, text, "--target", "nothing", code=125)
    build(podling, context, text, "--skip-unused-stages=false", "--network=none", code=9)


def test_copies(podling: Podling, context: Path) -> None:
    (context / "sub" / "deep").mkdir()
    (context / "sub" / "deep" / "c.txt").write_text("c\n")
    (context / "link").symlink_to("sub/b.txt")
    text = """
FROM BASE
RUN mkdir -p /real /etc2 && ln -s /real /linked && echo 'me:x:77:88::/:/bin/sh' > /etc/passwd && echo 'us:x:99:' > /etc/group
COPY sub /made/
COPY sub/ /made2
COPY a.txt /linked/
COPY --chown=me:us --chmod=640 a.txt /owned
COPY --chown=5 sub /tree
COPY --exclude=*.txt sub /partly
COPY --parents sub/deep/c.txt /parents/
COPY link /followed
COPY --chmod=u=rwx,go= a.txt /symbolic
COPY ["a.txt", "/with blank/x"]
COPY <<EOF <<'RAW' /documents/
value $HOME_NAME
EOF
value $HOME_NAME
RAW
"""
    build(podling, context, text.replace("FROM BASE", "FROM BASE\nARG HOME_NAME=x"), "-t", "copies", "--network=none")

    def look(script: str) -> list[str]:
        return shell(podling, "copies", script).splitlines()

    assert (
        look("cd /made && find . | sort")
        == look("cd /made2 && find . | sort")
        == [".", "./b.txt", "./deep", "./deep/c.txt"]
    )
    assert look("cat /real/a.txt; readlink /linked") == ["a", "/real"]
    assert look("stat -c '%u %g %a' /owned /tree /tree/b.txt /symbolic") == [
        "77 99 640",
        "5 5 755",
        "5 5 644",
        "0 0 700",
    ]
    assert look("find /partly /parents | sort") == ["/parents", "/parents/sub", "/parents/sub/deep", "/parents/sub/deep/c.txt", "/partly", "/partly/deep", "/partly/deep/c.txt"]  # fmt: skip
    assert look("cat /followed '/with blank/x' /documents/EOF /documents/RAW") == [
        "b",
        "a",
        "value x",
        "value $HOME_NAME",
    ]


def test_add_unpacks_and_fetches(podling: Podling, context: Path, server: str) -> None:
    with tarfile.open(context / "t.tar.gz", "w:gz") as archive:
        archive.add(context / "sub", "packed")
    digest = "sha256:" + "0" * 64
    build(
        podling,
        context,
        f"FROM BASE\nADD t.tar.gz /in/\nADD {server}/file /fetched\nADD {server}/file /folder/\n",
        "-t",
        "adds",
    )
    assert (
        shell(podling, "adds", "cat /in/packed/b.txt /fetched /folder/file; stat -c %a /fetched")
        == "b\nfrom /file\nfrom /file\n600"
    )
    assert "want sha256:000" in build(
        podling, context, f"FROM BASE\nADD --checksum={digest} {server}/file /f\n", code=125
    )
    assert "unknown flag: --from" in build(podling, context, "FROM BASE\nADD --from=x a.txt /a\n", code=125)


def test_run_with_heredocs(podling: Podling, context: Path) -> None:
    text = """
FROM BASE
RUN <<EOF
set -e
echo one > /one
echo two > /two
EOF
RUN cat <<EOF > /three
$((1 + 2))
EOF
RUN <<EOF
#!/bin/busybox sh
echo "$0" | grep -q tmp && echo four > /four
EOF
"""
    build(podling, context, text, "-t", "docs", "--network=none")
    assert shell(podling, "docs", "cat /one /two /three /four") == "one\ntwo\n3\nfour"


def test_mounts_of_run(podling: Podling, context: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    text = """
FROM BASE AS other
RUN echo from-stage > /f
FROM BASE
RUN --mount=type=bind,target=/ctx cat /ctx/sub/b.txt > /seen && ! touch /ctx/x
RUN --mount=target=/ctx,rw touch /ctx/x && ls /ctx/x
RUN --mount=type=bind,from=other,source=/f,target=/mnt/f cat /mnt/f >> /seen
RUN --mount=type=secret,id=token,mode=0444,uid=3 stat -c '%a %u' /run/secrets/token >> /seen && cat /run/secrets/token >> /seen && echo >> /seen
RUN --mount=type=secret,id=env,target=/e cat /e >> /seen && echo >> /seen
RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && grep ' /t tmpfs' /proc/mounts | wc -l >> /seen
RUN --mount=type=cache,target=/cache,id=kept,sharing=locked test -e /cache/n && echo again >> /cache/n || echo first > /cache/n; cat /cache/n >> /seen
RUN --network=none ls /sys/class/net >> /seen
"""
    os.environ["BUILD_SECRET"] = "from-env"
    podling.env["BUILD_SECRET"] = "from-env"
    flags = (
        "--secret",
        f"id=token,src={tmp_path}/token",
        "--secret",
        "id=env,env=BUILD_SECRET",
        "--no-cache",
        "--network=none",
    )
    build(podling, context, text, "-t", "mounted", *flags)
    assert shell(podling, "mounted", "cat /seen").split() == [
        "b",
        "from-stage",
        "444",
        "3",
        "s3cret",
        "from-env",
        "1",
        "first",
        "lo",
    ]
    left = shell(
        podling, "mounted", "ls -A /ctx /cache /t /run/secrets /mnt 2>/dev/null; cat /e 2>/dev/null; true"
    ).split()
    assert [word for word in left if not word.endswith(":")] == [], "nothing of a mount stays in the image"
    build(podling, context, text, "-t", "mounted", *flags)
    assert shell(podling, "mounted", "cat /seen").split()[-3:] == ["first", "again", "lo"]
    assert "s3cret" not in podling.ok("history", "--no-trunc", "mounted")
    podling.ok("system", "prune", "-f", "--build")
    assert not (Path(podling.root) / "root" / "build-cache").exists()


def test_a_required_secret_that_is_missing(podling: Podling, context: Path) -> None:
    text = "FROM BASE\nRUN --mount=type=secret,id=x,required=true cat /run/secrets/x\n"
    assert "no secret with id x" in build(podling, context, text, code=125)
    build(podling, context, text.replace(",required=true cat /run/secrets/x", " true"), "--network=none")


def test_an_agent_for_ssh(podling: Podling, context: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(path)
        text = 'FROM BASE\nRUN --mount=type=ssh,id=mine test -S "$SSH_AUTH_SOCK"\n'
        build(podling, context, text, "--ssh", f"mine={path}", "--network=none")


# -- the formats
def test_docker_format_has_more(podling: Podling, context: Path) -> None:
    text = 'FROM BASE\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK --interval=90s --retries=2 CMD test -e /ok\nONBUILD RUN echo $0 > /triggered\nRUN echo x\n'
    build(podling, context, text, "-t", "parent", "--format", "docker", "--network=none")
    made = config(podling, "parent")
    assert made["Healthcheck"] == {"Test": ["CMD-SHELL", "test -e /ok"], "Interval": 90 * 10**9, "Retries": 2}
    assert made["Shell"] == ["/bin/sh", "-ec"] and made["OnBuild"] == ["RUN echo $0 > /triggered"]
    assert "docker" in podling.ok("image", "inspect", "-f", "{{.ManifestType}}", "parent")
    (context / "Containerfile").write_text("FROM localhost/parent\n")
    podling.ok("build", "-t", "child", "--network=none", str(context))
    assert shell(podling, "child", "cat /triggered") == "/bin/sh"
    assert "OnBuild" not in config(podling, "child")
    done = podling("build", "-f", "-", str(context), input=text.replace("BASE", IMAGE).encode())
    assert done.returncode == 0 and "HEALTHCHECK is not part of the OCI image format" in done.stderr


# -- kept steps
def test_steps_are_done_once(podling: Podling, context: Path) -> None:
    text = "FROM BASE\nENV A=1\nCOPY a.txt /a\nRUN date +%N > /when\nLABEL x=y\n"
    first = build(podling, context, text, "--network=none")
    again = build(podling, context, text, "--network=none")
    assert "Using cache" not in first and again.count("--> Using cache") == 2
    assert first.splitlines()[-1] == again.splitlines()[-1], "the same image, id and all"
    os.utime(context / "a.txt", (1, 1))
    assert build(podling, context, text, "--network=none").count("Using cache") == 2, "times do not count"
    (context / "a.txt").write_text("other")
    assert "Using cache" not in build(podling, context, text, "--network=none")
    assert "Using cache" not in build(podling, context, text, "--network=none", "--no-cache")
    assert "Using cache" not in build(podling, context, text, "--network=none", "--cache-ttl", "1ns")
    assert build(podling, context, text, "--network=none", "--cache-ttl", "1h").count("Using cache") == 2


def test_arguments_make_other_steps(podling: Podling, context: Path) -> None:
    text = "FROM BASE\nRUN echo before > /b\nARG V=1\nRUN echo $V > /v\n"
    build(podling, context, text, "--network=none")
    out = build(podling, context, text, "--network=none", "--build-arg", "V=2", "-t", "args")
    assert out.count("Using cache") == 1 and shell(podling, "args", "cat /v") == "2"
    (context / "values").write_text("# values\nV=3\n")
    build(podling, context, text, "--network=none", "--build-arg-file", str(context / "values"), "-t", "args")
    assert shell(podling, "args", "cat /v") == "3"
    done = podling("build", "--network=none", "--build-arg", "UNUSED=1", str(context))
    assert "one or more build args were not consumed: [UNUSED]" in done.stderr


def test_layers_go_with_their_images(own: Podling, context: Path) -> None:
    text = "FROM BASE AS one\nRUN echo x > /x\nFROM BASE\nRUN echo y > /y\nCOPY --from=one /x /x\n"

    before = len(folders(own))
    assert before == 1
    build(own, context, text, "-t", "gone", "--network=none")
    assert len(folders(own)) == before + 3
    own.ok("rmi", "gone")
    assert len(folders(own)) == before + 1, "the other stage's step is kept for later builds"
    own.ok("image", "prune", "-f")
    assert len(folders(own)) == before
    build(own, context, "FROM BASE\nRUN echo y > /y\nRUN exit 3\n", "--network=none", code=3)
    assert len(folders(own)) == before + 1, "a failed build goes on where it was"
    assert "Using cache" in build(own, context, "FROM BASE\nRUN echo y > /y\n", "--network=none")
    assert own.ok("system", "check") == ""
    own.ok("rmi", "-a", "-f")
    own.ok("system", "prune", "-f", "--build")
    assert not folders(own)


def test_one_layer_of_all(podling: Podling, context: Path) -> None:
    text = "FROM BASE\nRUN echo x > /x\nRUN rm /x && echo y > /y\nLABEL a=b\n"

    def layers(name: str) -> int:
        return len(json.loads(podling.ok("image", "inspect", name))[0]["RootFS"]["Layers"])

    base = layers(IMAGE)
    for flag, count in (
        ("--layers=true", base + 2),
        ("--squash", base + 1),
        ("--layers=false", base + 1),
        ("--squash-all", 1),
    ):
        build(podling, context, text, "-t", "squashed", "--network=none", flag)
        assert layers("squashed") == count, flag
        assert shell(podling, "squashed", "ls /x 2>/dev/null; cat /y") == "y"
        assert config(podling, "squashed")["Labels"] == {"a": "b"}
    podling.ok("save", "-o", str(context / "out.tar"), "squashed")
    podling.ok("rmi", "squashed")
    podling.ok("load", "-q", "-i", str(context / "out.tar"))
    assert shell(podling, "squashed", "cat /y") == "y"


def test_newer_means_local_where_there_is_no_registry(podling: Podling, context: Path) -> None:
    build(podling, context, "FROM BASE\nLABEL a=b\n", "-t", "base-of-ours")
    (context / "Containerfile").write_text("FROM localhost/base-of-ours\nLABEL c=d\n")
    podling.ok("build", "--pull=newer", "-t", "on-top", str(context))
    assert config(podling, "on-top")["Labels"] == {"a": "b", "c": "d"}
    assert podling.ok("run", "--rm", "--network=none", "--pull", "newer", "localhost/on-top", "echo", "hi") == "hi"


def test_a_build_that_can_be_repeated(own: Podling, context: Path) -> None:
    text = "FROM BASE\nCOPY a.txt /a\nRUN echo x > /x\nWORKDIR /w\n"
    ids = []
    for moment in (1, 2):
        os.utime(context / "a.txt", (moment, moment))
        ids.append(
            build(own, context, text, "--timestamp", "1000000000", "--no-cache", "--network=none").splitlines()[-1]
        )
        time.sleep(0.01)
    assert ids[0] == ids[1]
    created = own.ok("image", "inspect", "-f", "{{.Created.Unix}}", ids[0])
    assert created == "1000000000" and shell(own, ids[0], "stat -c %Y /a /x /w").split() == ["1000000000"] * 3
    other = build(own, context, text, "--source-date-epoch", "1", "--network=none").splitlines()[-1]
    assert own.ok("image", "inspect", "-f", "{{.Created.Year}}", other) == "1970"


# -- contexts
class _Handler(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        body = path.read_bytes() if path.is_file() else f"from {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server that has what lies in tmp_path/web, and a line about any other path."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (_Handler,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()
        thread.join()


def test_where_contexts_come_from(podling: Podling, context: Path, tmp_path: Path, server: str) -> None:
    text = f"FROM {IMAGE}\nCOPY a.txt /a\n"
    (context / "Dockerfile").write_text(text)
    archive = tmp_path / "web" / "context.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        out.add(context, ".")
    assert podling("build", "-t", "piped", "-", input=archive.read_bytes()).returncode == 0
    assert podling.ok("build", "-q", "-t", "fetched", f"{server}/context.tar.gz")
    for name in ("piped", "fetched"):
        assert shell(podling, name, "cat /a") == "a"
    assert podling("build", "-t", "text", "-", input=f"FROM {IMAGE}\nLABEL a=b\n".encode()).returncode == 0
    (tmp_path / "web" / "Containerfile").write_text(f"FROM {IMAGE}\nLABEL a=c\n")
    podling.ok("build", "-t", "text", f"{server}/Containerfile")
    assert config(podling, "text")["Labels"] == {"a": "c"}
    for number, flags in enumerate((["-f", "Dockerfile"], ["-f", str(context / "Dockerfile")])):
        podling.ok("build", *flags, "-t", f"named{number}", str(context))
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "e").write_text("extra\n")
    (context / "Dockerfile").write_text("FROM base\nCOPY --from=more e /e\nCOPY --from=img /bin/busybox /bb\n")
    contexts = (
        "--build-context",
        f"more={tmp_path}/extra",
        "--build-context",
        f"img=docker-image://{IMAGE}",
        "--build-context",
        f"base=docker-image://{IMAGE}",
    )
    podling.ok("build", "-t", "contexts", *contexts, str(context))
    assert shell(podling, "contexts", "cat /e") == "extra"


def test_a_repository(podling: Podling, context: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        subprocess.run(["git", "-C", str(context), *identity, *arguments], check=True, capture_output=True)

    if subprocess.run(["git", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("git is not installed")
    (context / "sub" / "Containerfile").write_text(f"FROM {IMAGE}\nCOPY b.txt /b\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    podling.ok("build", "-q", "-t", "cloned", f"file://{context}/.git#main:sub")
    assert shell(podling, "cloned", "cat /b") == "b"
    assert "outside of the repository" in podling.fails(125, "build", f"file://{context}/.git#main:../..")
    assert "git:" in podling.fails(125, "build", f"file://{context}/.git#nothing")


def test_what_is_left_out(podling: Podling, context: Path) -> None:
    text = "FROM BASE\nCOPY . /all\n"
    look = "cd /all && find . -type f | sort"
    (context / ".dockerignore").write_text("*.txt\n!a.txt\nContainerfile\n.dockerignore\n")
    build(podling, context, text, "-t", "ignored")
    assert shell(podling, "ignored", look) == "./a.txt\n./sub/b.txt"
    assert "an ignore file leaves it out" in build(podling, context, "FROM BASE\nCOPY Containerfile /x\n", code=125)
    (context / ".containerignore").write_text("**\n!sub\n")
    build(podling, context, text, "-t", "ignored")
    assert shell(podling, "ignored", look) == "./sub/b.txt"
    (context / "other").write_text("sub\n.*\nContainerfile\nother\n")
    build(podling, context, text, "-t", "ignored", "--ignorefile", str(context / "other"))
    assert shell(podling, "ignored", look) == "./a.txt"


# -- the image
def test_what_is_said_of_the_image(podling: Podling, context: Path, tmp_path: Path) -> None:
    build(
        podling,
        context,
        "FROM BASE\nLABEL base=1 drop=2\nENV KEEP=1 DROP=2\n",
        "-t",
        "said:base",
        "--annotation",
        "base=1",
        "--annotation",
        "x=2",
    )
    text = "FROM said:base\nLABEL own=3\n"
    flags = ("-t", "said:1", "-t", "said:2", "--label", "flag=4", "--annotation", "note=5", "--unsetlabel", "drop", "--unsetenv", "DROP", "--unsetannotation", "x", "--env", "MORE=6", "--iidfile", str(tmp_path / "id"))  # fmt: skip
    id = build(podling, context, text, *flags).splitlines()[-1]
    made = config(podling, "said:2")
    assert (
        made["Labels"] == {"base": "1", "own": "3", "flag": "4"}
        and {"KEEP=1", "MORE=6"} <= set(made["Env"])
        and "DROP=2" not in made["Env"]
    )
    assert json.loads(podling.ok("image", "inspect", "-f", "{{json .Annotations}}", "said:1")) == {
        "base": "1",
        "note": "5",
    }
    assert (tmp_path / "id").read_text() == f"sha256:{id}"
    build(
        podling,
        context,
        text,
        "-t",
        "said:3",
        "--inherit-labels=false",
        "--inherit-annotations=false",
        "--omit-history",
    )
    assert (
        config(podling, "said:3")["Labels"] == {"own": "3"}
        and podling.ok("image", "inspect", "-f", "{{.Annotations}}", "said:3") == "map[]"
    )
    assert podling.ok("image", "inspect", "-f", "{{.History}}", "said:3") == "[]"
    build(
        podling,
        context,
        "FROM nothing/at/all\nRUN true\n",
        "--from",
        IMAGE,
        "-t",
        "said:4",
        "--network=none",
        "--logfile",
        str(tmp_path / "log"),
    )
    assert "STEP 2/2: RUN true" in (tmp_path / "log").read_text()


def test_platforms_and_lists(podling: Podling, context: Path) -> None:
    text = (
        "FROM scratch\nARG TARGETPLATFORM\nARG TARGETARCH\nLABEL for=$TARGETPLATFORM arch=$TARGETARCH\nCOPY a.txt /\n"
    )
    assert "--manifest" in build(podling, context, text, "--platform", "linux/amd64,linux/arm64", code=125)
    build(podling, context, text, "--platform", "linux/amd64,linux/arm64", "--manifest", "both:1")
    document = json.loads(podling.ok("manifest", "inspect", "both:1"))
    assert [entry["platform"]["architecture"] for entry in document["manifests"]] == ["amd64", "arm64"]
    build(podling, context, text, "--arch", "arm64", "--os", "linux", "--variant", "v8", "-t", "arm")
    assert config(podling, "arm")["Labels"] == {"for": "linux/arm64/v8", "arch": "arm64"}
    assert podling.ok("image", "inspect", "-f", "{{.Architecture}}", "arm") == "arm64"


def test_files_instead_of_an_image(podling: Podling, context: Path, tmp_path: Path) -> None:
    text = "FROM scratch\nCOPY a.txt sub /out/\n"
    before = podling.ok("images", "-aq")
    build(
        podling,
        context,
        text,
        "--output",
        f"type=local,dest={tmp_path}/folder",
        "-o",
        f"type=tar,dest={tmp_path}/out.tar",
    )
    assert (tmp_path / "folder" / "out" / "b.txt").read_text() == "b\n" and podling.ok("images", "-aq") == before
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert "out/a.txt" in archive.getnames()
    assert "type=local" in build(podling, context, text, "-o", "type=odd,dest=x", code=125)


def test_what_steps_are_given(podling: Podling, context: Path) -> None:
    script = (
        "cat /proc/sys/kernel/hostname > /dev/null; grep mine /etc/hosts; cat /etc/resolv.conf; ulimit -n; id -G; ls /dev/mine /mnt/a.txt; "
        "grep CapEff /proc/self/status; df -k /dev/shm | tail -1"
    )
    flags = [
        "--add-host", "mine:10.9.8.7", "--dns", "10.1.1.1", "--dns-option", "ndots:3", "--dns-search", "example.org", "--ulimit", "nofile=77:77",
        "--group-add", "44", "--device", "/dev/zero:/dev/mine", "--volume", f"{context}:/mnt:ro", "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN",
        "--shm-size", "5m", "--memory", "300m", "--memory-swap", "400m", "--cpu-shares", "512", "--cpu-period", "100000", "--cpu-quota", "50000",
        "--cpuset-cpus", "0", "--cpuset-mems", "0", "--security-opt", "no-new-privileges", "--pid", "private", "--ipc", "private", "--uts", "private",
        "--cgroupns", "private", "--http-proxy=false", "--cgroup-parent", "/podling-builds", "--network", "private",
    ]  # fmt: skip
    out = build(podling, context, f"FROM BASE\nRUN {script}\n", *flags)
    assert (
        "10.9.8.7\tmine" in out
        and "nameserver 10.1.1.1" in out
        and "search example.org" in out
        and "options ndots:3" in out
    )
    assert "\n77\n" in out and " 44" in out and "/dev/mine" in out and "/mnt/a.txt" in out and " 5120 " in out
    more = ["--no-hosts", "--no-hostname", "--userns", "host", "--network", "none"]
    build(podling, context, "FROM BASE\nRUN test ! -s /etc/hosts\n", *more)
    maps = ["--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000", "--network", "none"]
    assert "100000" in build(
        podling, context, "FROM BASE\nRUN cat /proc/self/uid_map && touch /mine\n", *maps, "-t", "mapped"
    )
    assert shell(podling, "mapped", "stat -c %u /mine") == "0", "the image has the owners that the step saw"


# -- what goes wrong
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("FROM BASE\nRUN exit 42\n", 42, 'building at STEP "RUN exit 42": while running runtime: exit status 42'),
        ('FROM BASE\nRUN ["nosuch"]\n', 127, 'building at STEP "RUN ["nosuch"]": executable file `nosuch` not found'),
        ("FROM BASE\nCOPY nothing /x\n", 125, "nothing: no such file or directory"),
        ("FROM BASE\nRNU x\n", 125, "line 2: unknown instruction: RNU"),
        ("FROM scratch\nRUN x\n", 125, "the image is empty"),
        ("FROM BASE\nCOPY a.txt\n", 125, "at least a source and a destination"),
        ("FROM BASE\nCOPY --from=nosuchstage:1 a /b\n", 125, ""),
        ("FROM BASE\nRUN --mount=type=odd,target=/x true\n", 125, "unknown type 'odd'"),
        ("FROM BASE\nRUN --mount=type=cache true\n", 125, "needs target"),
        ("FROM BASE\nRUN --security=insecure true\n", 125, "unknown flag: --security"),
        ("FROM BASE\nEXPOSE x\n", 125, "invalid port"),
        ("FROM BASE\nCOPY a.txt sub /etc/passwd\n", 125, ""),
        ("FROM BASE\nUSER\n", 125, "at least one argument"),
        ("FROM BASE\nSTOPSIGNAL nothing\n", 125, ""),
        ("FROM BASE\nHEALTHCHECK --interval=x CMD y\n", 125, "not a duration"),
        ("FROM BASE\nONBUILD FROM x\n", 125, "isn't allowed"),
        ("FROM BASE\nCOPY --chown=nobodyknows a.txt /a\n", 125, "the image must know that name"),
        ("FROM BASE\nCOPY --chmod=odd a.txt /a\n", 125, "invalid chmod"),
        ("FROM BASE\nLABEL x\n", 125, "KEY=VALUE"),
        ("FROM BASE\nENV A=${b\n", 125, "missing }"),
    ],
)  # fmt: skip
def test_broken_builds(podling: Podling, context: Path, text: str, code: int, message: str) -> None:
    before = folders(podling)
    assert message in build(podling, context, text, "--network=none", "--pull=never", code=code)
    assert podling.ok("ps", "-aq", "--external") == ""
    assert folders(podling) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--format", "odd"), "--format"), (("--pull=odd",), "--pull"), (("--secret", "src=x"), "id=NAME"), (("--timestamp", "x"), "not a number"),
        (("--build-arg-file", "/nothing"), "No such file"), (("--ignorefile", "/nothing"), "No such file"), (("-f", "nothing"), "does not exist: nothing"),
        (("--tag", "UPPER"), ""), (("--cache-ttl", "x"), ""), (("--label", "="), ""),
    ],
)  # fmt: skip
def test_bad_flags(podling: Podling, context: Path, flags: tuple[str, ...], message: str) -> None:
    assert message in build(podling, context, "FROM BASE\n", *flags, code=125)


def test_contexts_that_are_none(podling: Podling, context: Path) -> None:
    assert "no such file or directory" in podling.fails(125, "build", "/nothing")
    assert "no Containerfile or Dockerfile" in podling.fails(125, "build", str(context))
    assert "is a file" in podling.fails(125, "build", str(context / "a.txt"))
    assert "empty" in build(podling, context, "# nothing\n", code=125)


def test_links_of_a_context_do_not_lead_out(podling: Podling, context: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    (context / "out").symlink_to("../outside")
    (context / "sub" / "up").symlink_to("../../outside")
    assert "no such file" in build(podling, context, "FROM BASE\nCOPY out /x\n", code=125)
    build(podling, context, "FROM BASE\nCOPY sub /x\nCOPY a.txt /etc/../a\n", "-t", "links")
    assert shell(podling, "links", "readlink /x/up; cat /a") == "../../outside\na"


def test_an_interrupted_build_leaves_nothing(podling: Podling, context: Path) -> None:
    (context / "Containerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; sleep 1000\n")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        child = subprocess.Popen(
            podling.argv("build", "--network=none", str(context)), stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        for line in child.stdout:
            if line == "begun\n":
                break
        rows = podling.ok("ps", "-a", "--external", "--format", "{{.Names}} {{.Command}}", "--no-trunc")
        assert "sleep 1000" in rows and podling.ok("ps", "-aq") == "" and podling.ok("rm", "-af") == ""
        child.send_signal(number)
        assert child.wait(30) == code
        child.stdout.close()
        podling.ok("rm", "-af")  # any command that writes repairs
        eventually(lambda: podling.ok("ps", "-aq", "--external") == "")
        assert not list((Path(podling.root) / "run").glob("build-*"))


def test_who_reads_no_more_ends_the_step(podling: Podling, context: Path) -> None:
    (context / "Containerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; sleep 1000\n")
    child = subprocess.Popen(
        podling.argv("build", "--network=none", str(context)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout
    while child.stdout.readline() != "begun\n":
        pass
    child.stdout.close()
    assert child.wait(30) != 0
    eventually(lambda: podling.ok("ps", "-aq", "--external") == "")


def test_from_a_registry_and_from_python(podling: Podling, context: Path) -> None:
    import podling as library
    from podling.errors import InvalidInput

    (context / "Containerfile").write_text(f"FROM {IMAGE}\nARG V\nRUN echo $V > /v\n")
    flags = ("--authfile", str(context / "none.json"), "--cert-dir", str(context), "--creds", "a:b", "--tls-verify=false", "--retry", "1", "--retry-delay", "1s", "--decryption-key", str(context / "key"))  # fmt: skip
    podling.ok("build", "-q", "--pull", "--pull=missing", "--network=none", *flags, str(context))
    root = Path(podling.root)
    with library.open(root=str(root / "root"), runroot=str(root / "run")) as engine:
        from podling.engine.types import CreateOptions

        alone = CreateOptions(image="", network=["none"])
        id = engine.images.build(str(context), tags=["from-python"], build_args=["V=7"], run=alone)
        assert len(id) == 64
        assert engine.containers.run("from-python", ["cat", "/v"], network=["none"], remove=True).stdout == b"7\n"
        (context / "Containerfile").write_text(f"FROM {IMAGE}\nRUN exit 4\n")
        with pytest.raises(InvalidInput, match="exit status 4"):
            engine.images.build(str(context), run=alone)
