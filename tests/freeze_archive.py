"""Writes the frozen archive of a format: run once for each format; the result is committed and stays as it is.

    python -m tests.freeze_archive tests/files/archive-format-1.zip

It holds two spectra in two revisions, a correction, a tag, a structure, a saved query and settings; what is read in it lies beside it
as JSON. Every later version opens it; see `test_frozen.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from barospec import Archive

from .files_made import SETTINGS, write_columns

SHEET = """structures:
  - {structure_id: s1, material: NiO, space_group: Fm-3m, a: 4.18, source: test, pressure: 0.0001, temperature: 300}
"""
FIELDS = (
    "spectrum_id",
    "revision",
    "run",
    "sample",
    "pressure",
    "pressure_sigma",
    "energy_min",
    "point_count",
    "medium",
)


def reading(archive: Archive) -> dict[str, Any]:
    """Return the values that every version must read."""
    found = archive.query("sorted by pressure").columns(list(FIELDS))
    rows = [dict(zip(FIELDS, row, strict=True)) for row in zip(*(found[name] for name in FIELDS), strict=True)]
    for row in rows:
        row |= {name: None for name, value in row.items() if value != value}
        energy, curve = archive.curve(str(row["spectrum_id"]))
        row["sha256"] = hashlib.sha256(energy.tobytes() + curve.tobytes()).hexdigest()
    plain = {
        "rows": rows,
        "log": [[commit.snapshot, commit.message] for commit in archive.log()],
        "tags": archive.tags(),
        "title": archive.settings()["title"],
        "saved": {saved.name: saved.query for saved in archive.saved()},
    }
    return dict(json.loads(json.dumps(plain, default=lambda value: value.item())))


def freeze(target: Path) -> None:
    """Make the archive, without its index, which every version makes for itself."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = [write_columns(place / f"scan{n}.dat", points=40, seed=n) for n in range(2)]
        archive = Archive.create(place / "a", title="frozen")
        archive.ingest(files, [*SETTINGS, "pressure=15.1 ± 0.2 GPa"])
        (place / "sheet.yaml").write_text(SHEET)
        archive.ingest([place / "sheet.yaml"])
        archive.tag("v1", "as frozen")
        first = str(archive.query("").columns(["spectrum_id"])["spectrum_id"][0])
        archive.set(first, ["pressure=15.6 ± 0.1 GPa", "medium=neon"], reason="misread")
        write_columns(files[1], points=40, seed=5)
        archive.ingest(files[1:], [*SETTINGS, "pressure=16 GPa"], replace=True)
        archive.save("high", "above 10 GPa")
        archive.configure({"title": "frozen for ever"})
        told = {"now": reading(archive), "v1": reading(Archive(place / "a", at="v1"))}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(path for path in (place / "a").rglob("*") if path.is_file()):
                name = path.relative_to(place / "a")
                if name.parts[0] != "index" and not name.name.startswith("writer."):
                    packed.write(path, name.as_posix())
        target.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    freeze(Path(sys.argv[1]))
