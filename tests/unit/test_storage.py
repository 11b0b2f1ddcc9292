"""The tar reader, recipes, decompression, and unpacking, which need no mounts."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from podling.errors import BadArchive
from podling.linux.files import remove_tree
from podling.storage import tar
from podling.storage.decompress import decompressed
from podling.storage.extract import clean
from podling.storage.pipeline import HashedStream
from podling.storage.recipe import RecipeWriter, read_tar


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def reader(data: bytes, size: int = 700, keep: Callable[[bytes], None] | None = None) -> tar.Reader:
    source = chunks(data, size)
    return tar.Reader(lambda: next(source, b""), keep)


def archive(form: int, names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as out:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            data = random.Random(number).randbytes(number * 397)
            info.size, info.uid, info.gid, info.mtime, info.mode = (
                len(data),
                number,
                1 << 20,
                1_600_000_000 + number,
                0o640,
            )
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


NAMES = ["a", "b" * 99, "c" * 100, "d" * 101, "e/" * 60 + "f", "ü" * 80, "g" * 300, "x" * 99 + "/y"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
def test_members_are_as_tarfile_sees_them(form: int, size: int) -> None:
    names = [name for name in NAMES if form != tarfile.USTAR_FORMAT or len(name.encode()) <= 100]
    data = archive(form, names)
    expected = [(m.name, m.size, m.uid, m.gid, m.mtime, m.mode) for m in tarfile.open(fileobj=io.BytesIO(data))]
    source = reader(data, size)
    found = []
    for member in source:
        assert member.kind == tar.REGULAR
        content = source.read()
        assert len(content) == member.size
        found.append((member.name, member.size, member.uid, member.gid, member.mtime // 10**9, member.mode))
    assert found == expected


def test_a_cut_ustar_name_is_no_folder() -> None:
    """A pax archive keeps the first 100 bytes of a long name in the old field; when they end with a slash it is still a file."""
    name = "x" * 99 + "/" + "y" * 20
    (member,) = list(reader(archive(tarfile.PAX_FORMAT, [name])))
    assert (member.kind, member.name) == (tar.REGULAR, name)


def test_old_folders() -> None:
    info = tarfile.TarInfo("folder/")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    (member,) = list(reader(bytes(header) + bytes(1024)))
    assert member.kind == tar.FOLDER


def test_large_numbers() -> None:
    info = tarfile.TarInfo("x")
    info.uid = 1 << 30
    (member,) = list(reader(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert member.uid == 1 << 30


@pytest.mark.parametrize("seed", range(300))
def test_noise_is_refused_or_read_but_never_crashes(seed: int) -> None:
    generator = random.Random(seed)
    data = bytearray(archive(generator.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), NAMES))
    for _ in range(generator.randrange(1, 6)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    if seed % 3 == 0:
        del data[generator.randrange(len(data)) :]
    try:
        for _ in reader(bytes(data)):
            pass
    except BadArchive:
        pass


def test_recipe_gives_the_tar_back(tmp_path: Path) -> None:
    names = [name for name in NAMES if len(name) < 200]
    data = archive(tarfile.PAX_FORMAT, names) + bytes(5000)
    recipe = RecipeWriter(str(tmp_path / "recipe"))
    source = reader(data, 1000, recipe.raw)
    (tmp_path / "diff").mkdir()
    for member in source:
        path = tmp_path / "diff" / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.size:
            recipe.data(member.name, 0, member.size)
        path.write_bytes(source.read())
    recipe.close()
    assert b"".join(read_tar(str(tmp_path / "recipe"), str(tmp_path / "diff"))) == data


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress, lzma.compress, bz2.compress]
)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_decompression(compress: Callable[[bytes], bytes], size: int) -> None:
    data = os.urandom(3000) * 3
    assert b"".join(decompressed(chunks(compress(data), size))) == data


def test_several_members_and_padding() -> None:
    two = gzip.compress(b"one") + gzip.compress(b"two") + bytes(100)
    assert b"".join(decompressed(chunks(two, 10))) == b"onetwo"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress, lzma.compress, bz2.compress])
def test_truncated_and_corrupt_streams(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(os.urandom(5000))
    for broken in (packed[:-10], packed[:3000], packed[:2000] + packed[2100:]):
        with pytest.raises(BadArchive):
            b"".join(decompressed(chunks(broken, 100)))


def test_hashed_stream() -> None:
    data = os.urandom(3_000_000)
    with HashedStream(chunks(gzip.compress(data), 10_000)) as stream:
        assert b"".join(iter(stream.next, b"")) == data
    assert stream.size == len(data)

    def failing() -> Iterator[bytes]:
        yield b"x" * 100
        raise BadArchive("no more")

    with HashedStream(failing()) as stream, pytest.raises(BadArchive, match="no more"):
        stream.drain()
    with HashedStream(chunks(data, 1000)) as stream:
        stream.next()  # leaving early must not hang


def test_names_are_cleaned() -> None:
    assert clean("./a//b/./c/") == "a/b/c" and clean("/abs") == "abs" and clean("a/../b") == "b" and clean("./") == ""
    for name in ("..", "a/../../b", "../x", "a\0b"):
        with pytest.raises(BadArchive):
            clean(name)


def test_remove_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").touch()
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "keep")
    (tmp_path / "tree" / "a" / "b").chmod(0o000)
    remove_tree(str(tmp_path / "tree"))
    remove_tree(str(tmp_path / "tree"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "keep"]
