"""Where the real files lie that nobody here wrote; without the folder, tests that need them are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

REALDATA = Path(__file__).parents[2] / "shared" / "realdata"
needs_realdata = pytest.mark.skipif(not REALDATA.is_dir(), reason=f"the folder {REALDATA} with real files is not here")
