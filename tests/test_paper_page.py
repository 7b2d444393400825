"""The page on the paper's analyses prints what its commands print."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "docs" / "replay.py"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("replay", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


replay = load()
BLOCKS = list(replay.BLOCK.finditer(replay.PAGE.read_text("utf-8")))


def test_the_page_has_its_commands() -> None:
    assert len(BLOCKS) == 12
    assert all(block["output"].strip() for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=[" ".join(replay.words(b["command"])[:3])[:50] for b in BLOCKS])
def test_a_command_prints_what_the_page_says(block: Any, sample_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROSPEC_ARCHIVE", str(sample_path))
    printed, said = replay.run(block["command"]).split(), block["output"].split()
    assert len(printed) == len(said)
    for now, then in zip(printed, said, strict=True):
        if NUMBER.match(then):
            # Other versions of numpy and scipy round differently; what a reader sees stays.
            assert float(now) == pytest.approx(float(then), rel=2e-3, abs=2e-6), (now, then)
        else:
            assert now == then
