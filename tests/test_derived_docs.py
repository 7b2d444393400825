"""The page about derived values says what the program says."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_story_of_derived_values_is_what_the_program_prints(sample_path: Path, tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("story", ROOT / "docs" / "story.py")
    assert found is not None
    assert found.loader is not None
    story = importlib.util.module_from_spec(found)
    found.loader.exec_module(story)
    shutil.copytree(sample_path, tmp_path / "archive")
    page = (ROOT / "docs" / "derived.md").read_text(encoding="utf-8")
    now = story.told(page, tmp_path / "archive")
    assert page.count("```console") >= 6
    assert story.stable(now).splitlines() == story.stable(page).splitlines(), "run python docs/story.py docs/derived.md"
