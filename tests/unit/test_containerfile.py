"""Containerfiles as text: instructions, words, variables, patterns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podling.build import stages
from podling.build.containerfile import BuildError, parse
from podling.build.expand import expand, expand_plain, pairs, split
from podling.build.ignore import Ignore
from podling.build.transfer import Attributes, Load, chmod, find
from podling.storage.changes import View


# -- instructions
def test_instructions() -> None:
    file = parse(
        "# syntax=docker/dockerfile:1\n# a comment\n\nfrom a AS b\nRUN one \\\n  # in between\n\n  two\\\n three\n"
        'COPY --chown=1:2 --chmod="7 5" a b\tc\nCMD ["x", "y"]\nLABEL a=b\n'
    )
    found = [(item.name, item.text) for item in file.instructions]
    assert found == [
        ("FROM", "a AS b"),
        ("RUN", "one   two three"),
        ("COPY", "a b\tc"),
        ("CMD", '["x", "y"]'),
        ("LABEL", "a=b"),
    ]
    assert file.instructions[2].flags == [("chown", "1:2"), ("chmod", "7 5")]
    assert file.instructions[3].as_list() == ["x", "y"] and file.instructions[4].as_list() is None
    assert file.instructions[1].line == 5 and file.instructions[2].shown == "COPY --chown=1:2 --chmod=7 5 a b\tc"


def test_escape_directive() -> None:
    file = parse("# escape=`\nFROM a\nRUN dir C:\\ `\n b\n")
    assert file.escape == "`" and file.instructions[1].text == "dir C:\\  b"


def test_heredocs() -> None:
    file = parse(
        "FROM a\nRUN <<EOF\necho $x\nEOF\nCOPY <<-'A' <<B /d/\n\tone\n\tA\ntwo\nB\nRUN cat <<E > f\nx\nE\nRUN a <<< b\n"
    )
    first, second = file.instructions[1], file.instructions[2]
    assert first.heredocs[0].content == "echo $x\n" and first.heredocs[0].expand
    assert [(doc.name, doc.content, doc.expand) for doc in second.heredocs] == [
        ("A", "one\n", False),
        ("B", "two\n", True),
    ]
    assert file.instructions[3].heredocs[0].content == "x\n" and not file.instructions[4].heredocs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"), ("FORM a\n", "line 1: unknown instruction: FORM"), ("FROM\n", "at least one argument"),
        ("FROM a\nRUN <<EOF\nx\n", "unterminated heredoc"), ("# escape=x\nFROM a\n", "invalid escape"),
        ("# escape=`\n# escape=`\nFROM a\n", "only one escape"),
    ],
)  # fmt: skip
def test_broken_files(text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        parse(text)


# -- words
VARIABLES = {"a": "1", "empty": "", "path": "/usr/lib/x.tar.gz"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", "1"), ("${a}b$", "1b$"), ("'$a'", "$a"), ('"$a \\"x\\""', '1 "x"'), ("\\$a", "$a"), ("${no:-x$a}", "x1"), ("${no-x}", "x"),
        ("${empty-x}", ""), ("${empty:-x}", "x"), ("${a:+y}", "y"), ("${no:+y}", ""), ("${empty+y}", "y"), ("${a:?m}", "1"),
        ("${path##*/}", "x.tar.gz"), ("${path#*/}", "usr/lib/x.tar.gz"), ("${path%.*}", "/usr/lib/x.tar"), ("${path%%.*}", "/usr/lib/x"),
        ("${path/usr/opt}", "/opt/lib/x.tar.gz"), ("${path//\\//-}", "-usr-lib-x.tar.gz"), ("$no", ""), ("a'b c'd", "ab cd"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["'open", '"open', "${a", "${}", "${no:?is missing}"])
def test_bad_words(text: str) -> None:
    with pytest.raises(BuildError):
        expand(text, VARIABLES)


def test_words_and_pairs() -> None:
    assert split("a 'b c' \"d e\"f g\\ h") == ["a", "'b c'", '"d e"f', "g\\ h"]
    assert pairs('A=1 B="x y" C=$a', VARIABLES) == [("A", "1"), ("B", "x y"), ("C", "1")]
    assert pairs("KEY the rest $a", VARIABLES) == [("KEY", "the rest 1")]
    assert expand_plain('it\'s "$a" \\$a \\n', VARIABLES) == 'it\'s "1" $a \\n'
    for text in ("KEY", "A=1 B"):
        with pytest.raises(BuildError):
            pairs(text, VARIABLES)


# -- stages
def test_stages() -> None:
    file = parse(
        "ARG V=1\nFROM a:$V AS one\nRUN x\nFROM b AS two\nCOPY --from=one / /\nFROM scratch AS three\nFROM two\nRUN --mount=from=three,target=/x y\n"
    )
    arguments, found = stages.split(file, {"V": "2"}, {})
    assert arguments == {"V": "2"} and [(stage.base, stage.name) for stage in found] == [
        ("a:2", "one"),
        ("b", "two"),
        ("scratch", "three"),
        ("two", ""),
    ]
    assert [stage.index for stage in stages.needed(found, stages.chosen(found, ""))] == [0, 1, 2, 3]
    assert [stage.index for stage in stages.needed(found, stages.chosen(found, "TWO"))] == [0, 1]
    assert [stage.index for stage in stages.needed(found, stages.chosen(found, "2"))] == [2]
    with pytest.raises(BuildError, match="was not found"):
        stages.chosen(found, "four")


@pytest.mark.parametrize("text", ["RUN x\nFROM a\n", "FROM a b\n", "FROM $x\n", "ARG x\n", "FROM --odd=1 a\n"])
def test_bad_stages(text: str) -> None:
    with pytest.raises(BuildError):
        stages.split(parse(text), {}, {})


# -- patterns
@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["*.log"], ["a.log"], ["d/a.log", "a.logs"]), (["**/*.log"], ["a.log", "d/e/a.log"], ["a.txt"]), (["node_modules"], ["node_modules/x/y"], ["a/node_modules"]),
        (["*", "!keep", "!d/in"], ["x", "d/out"], ["keep", "keep/a", "d/in"]), (["a?c", "[xy]z"], ["abc", "xz"], ["ac", "zz"]), (["# no", "", "/top/"], ["top/a"], ["# no", "a/top"]),
        (["docs", "!docs/README.md"], ["docs/x"], ["docs/README.md"]),
    ],
)  # fmt: skip
def test_ignore(patterns: list[str], out: list[str], kept: list[str]) -> None:
    ignore = Ignore(patterns)
    assert [path for path in out if not ignore.leaves_out(path)] == []
    assert [path for path in kept if ignore.leaves_out(path)] == []


# -- files
def test_sources_never_leave_the_context(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no")
    context = tmp_path / "context"
    (context / "d").mkdir(parents=True)
    (context / "d" / "a.txt").write_text("a")
    (context / "d" / "b.txt").write_text("b")
    (context / "out").symlink_to("../secret")
    (context / "absolute").symlink_to("/d")
    view = View([str(context)])

    def names(pattern: str) -> list[str]:
        return [item.path for item in find(view, pattern, Ignore([]))]

    assert names("d/*.txt") == ["/d/a.txt", "/d/b.txt"] and names("../../d") == ["/d"] and names("out") == []
    assert names("absolute/a.txt") == ["/d/a.txt"] and names("d/[a]*") == ["/d/a.txt"] and names("nothing") == []


def test_digests_depend_on_content_and_not_on_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")

    def digest() -> str:
        load = Load(Attributes(uid=0, gid=0))
        load.pieces.append((View([str(tmp_path)]), "/a", "/a"))
        return load.digest()

    first = digest()
    os.utime(file, (1, 1))
    assert digest() == first
    file.chmod(0o755)
    assert digest() != first
    file.chmod(0o644)
    file.write_text("two")
    assert digest() != first


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("755", 0o644, 0o755),
        ("u+x", 0o644, 0o744),
        ("go-r,a+x", 0o644, 0o711),
        ("u=rw,g=", 0o755, 0o605),
        ("+X", 0o644, 0o644),
    ],
)
def test_chmod(tmp_path: Path, text: str, before: int, after: int) -> None:
    file = tmp_path / "f"
    file.write_text("")
    file.chmod(before)
    assert chmod(text)(file.stat()) == after


@pytest.mark.parametrize("text", ["rwx", "u+q", "999", ""])
def test_bad_modes(text: str) -> None:
    with pytest.raises(BuildError):
        chmod(text)
