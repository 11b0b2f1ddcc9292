"""The code in docs/library.md is run, block by block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Podling

_PAGE = Path(__file__).parents[2] / "docs" / "library.md"
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.xdist_group("network")
def test_the_library_page(podling: Podling, pytestconfig: pytest.Config) -> None:
    assert len(_BLOCKS) == 9
    names: dict[str, object] = {}
    where = f"root={podling.root + '/root'!r}, runroot={podling.root + '/run'!r}"
    for block in _BLOCKS:
        if "podling_run" in block:
            continue  # tests/integration/test_library_faces.py runs such a test under pytest itself
        exec(compile(block.replace(".open()", f".open({where})"), str(_PAGE), "exec"), names)
    assert podling.ok("ps", "-aq") == ""
