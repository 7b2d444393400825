"""Cell, symmetry and values of a CIF, through gemmi's parser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from barospec.archive.structures.cells import ANGLES, LENGTHS
from barospec.schemas.errors import InvalidData, UnreadableFile


def load(path: Path) -> tuple[bytes, Any]:
    """Read a CIF; return its bytes and its one block that has a cell."""
    import gemmi

    try:
        data = path.read_bytes()
        document = gemmi.cif.read_string(data.decode("utf-8", "replace"))
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be opened: {error.strerror or error}.") from None
    except (ValueError, RuntimeError) as error:
        raise UnreadableFile(f"{path}: is not a valid CIF ({str(error).splitlines()[0]}).") from None
    blocks = [block for block in document if block.find_value("_cell_length_a")]
    if len(blocks) != 1:
        names = f" ({', '.join(block.name for block in blocks)})" if blocks else ""
        raise InvalidData(
            f"{path}: {len(blocks)} data blocks with a cell{names}; there must be one. Put each structure "
            "into a separate CIF."
        )
    return data, blocks[0]


def cell(block: Any) -> dict[str, float]:
    """Return lengths (Å) and angles (degrees); NaN where unknown (gemmi's own cell has defaults there)."""
    tags = {key: f"_cell_length_{key}" for key in LENGTHS} | {key: f"_cell_angle_{key}" for key in ANGLES}
    numbers = {key: number(block, tag) for key, tag in tags.items()}
    return {key: math.nan if value is None else value for key, value in numbers.items()}


def symmetry(block: Any, small: Any, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the space-group symbol and operations; listed operations win over the symbol, as settings differ."""
    import gemmi

    group = small.spacegroup
    symbol = str(group.hm if group is not None else small.spacegroup_hm)
    listed = [row[0].strip().strip("'\"") for row in _operations(block)]
    try:
        if listed:
            return symbol, tuple(gemmi.Op(triplet).triplet() for triplet in listed)
    except (ValueError, RuntimeError) as error:
        raise InvalidData(f"{path}: a symmetry operation is not understood ({error}).") from None
    if group is None:
        raise InvalidData(
            f'{path}: neither symmetry operations nor a space group that is known ("{symbol}"); '
            "add _space_group_symop_operation_xyz."
        )
    return symbol, tuple(operation.triplet() for operation in group.operations())


def _operations(block: Any) -> Any:
    for tag in (
        "_space_group_symop_operation_xyz",
        "_symmetry_equiv_pos_as_xyz",
        "_space_group_symop.operation_xyz",
    ):
        table = block.find([tag])
        if len(table):
            return table
    return ()


def text(block: Any, tag: str) -> str:
    """Return a value as one line of text; "" if unknown."""
    import gemmi

    value = block.find_value(tag)
    return "" if value is None or value in ("?", ".") else " ".join(gemmi.cif.as_string(value).split())


def number(block: Any, tag: str) -> float | None:
    """Return a number without its uncertainty in brackets; None if unknown."""
    import gemmi

    value = gemmi.cif.as_number(block.find_value(tag) or "?")
    return float(value) if math.isfinite(value) else None
