"""Values of whole runs in the index: slopes and breakpoints along a condition, as columns of spectra.

A set is a chain, a condition and a method (`METHODS`) over a query; it has an entry for each run of a sample and kind of
spectrum. In the index an entry's numbers are columns of ``spectra``, repeated on every spectrum of the run like all
run-level fields: "runs where edge_energy_slope > 0.05 eV/GPa" is an ordinary query. Columns are named as those of other
derived values, see `derived`.

An entry is fresh if a new fit would use the same spectra with the same numbers, conditions and calibration, the same
operators and the same references. This is compared when an index is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barospec.catalogs.index.references import ENTERS, References
from barospec.catalogs.query.answer.answer import rows_of
from barospec.catalogs.query.parse.parser import parse
from barospec.catalogs.query.resolve.archive_schema import ArchiveSchema, known_now
from barospec.catalogs.query.resolve.fields import Connection, quoted
from barospec.catalogs.query.resolve.operator_table import VERSIONS
from barospec.catalogs.query.resolve.resolve import resolve
from barospec.schemas.errors import BarospecError
from barospec.schemas.vocabulary import BY_NAME

KEY = ("grp", "experiment", "run", "sample")
CALIBRATED = ("foil", "reference")
Key = tuple[str | None, ...]
Member = list[Any]


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a method computes for a run.

    Parameters
    ----------
    key : str
        Name in `series.analyze`.
    name : str
        Suffix of the quantity: ``edge_energy_slope``.
    unit : str
        ``y/x``, ``x`` or ``1``: of quantity and condition.
    meaning : str
    """

    key: str
    name: str
    unit: str
    meaning: str


# method -> version (raised when its numbers change) and numbers, the main one first.
METHODS: Mapping[str, tuple[int, tuple[Number, ...]]] = {
    "line": (
        1,
        (
            Number("slope", "slope", "y/x", "slope of a weighted line along {x} through the spectra of the run"),
            Number("slope_sigma", "slope_sigma", "y/x", "its uncertainty, scaled where points scatter more"),
            Number("p_value", "line_p_value", "1", "probability of at least this scatter about the line if it is true"),
        ),
    ),
    "breakpoint": (
        1,
        (
            Number("position", "breakpoint", "x", "position along {x} where the slope changes in the run"),
            Number("low", "breakpoint_low", "x", "lower end of the confidence interval of the breakpoint"),
            Number("high", "breakpoint_high", "x", "upper end of the confidence interval of the breakpoint"),
            Number("slope_before", "slope_before", "y/x", "slope before the breakpoint"),
            Number("slope_before_sigma", "slope_before_sigma", "y/x", "its uncertainty"),
            Number("slope_behind", "slope_behind", "y/x", "slope after the breakpoint"),
            Number("slope_behind_sigma", "slope_behind_sigma", "y/x", "its uncertainty"),
            Number(
                "p_value", "breakpoint_p_value", "1", "probability of at least this improvement without a breakpoint"
            ),
        ),
    ),
}


@dataclass(slots=True)
class SeriesEntry:
    """The value of a set for a run, present or missing.

    Parameters
    ----------
    key : tuple of str
        `KEY`.
    members : list
        The current spectra: `ENTERS` of each, and its condition.
    stored : dict or None
        The row of the table ``series_values``; None if nothing was computed.
    because : str
        Why the stored value is stale; empty if it is fresh.
    """

    key: Key
    members: list[Member]
    stored: dict[str, Any] | None
    because: str = ""

    @property
    def outputs(self) -> dict[str, float | None]:
        """Return the stored numbers, by `Number.key`."""
        return json.loads(self.stored["outputs"]) if self.stored else {}


def sets_of(connection: Connection, *, dropped: bool = False) -> list[dict[str, Any]]:
    """Return the sets of values of runs, in order of creation."""
    found = connection.execute(
        """SELECT * FROM (SELECT *, min(time) OVER (PARTITION BY name) AS made FROM series
        QUALIFY row_number() OVER (PARTITION BY name ORDER BY revision DESC) = 1) ORDER BY status <> 'active', made, name"""
    )
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return [row for row in rows if dropped or row["status"] == "active"]


def members_now(connection: Connection, known: ArchiveSchema, query: str, against: str) -> dict[Key, list[Member]]:
    """Return the spectra of each run that a query finds: `ENTERS` and the condition, by spectrum_id."""
    try:
        found = rows_of(connection, resolve(parse(query), known), known)
    except BarospecError:  # a value that the archive no longer has
        return {}
    columns = ", ".join(f"s.{quoted(name)}" for name in (*KEY, *ENTERS, against))
    rows = connection.execute(
        f"""SELECT {columns} FROM (SELECT unnest(?::VARCHAR[]) AS grp, unnest(?::BIGINT[]) AS row) w
        JOIN spectra s USING (grp, row) ORDER BY ALL""",
        [found["grp"].tolist(), found["row"].tolist()],
    ).fetchall()
    members: dict[Key, list[Member]] = {}
    for row in rows:
        members.setdefault(tuple(row[: len(KEY)]), []).append(list(row[len(KEY) :]))
    return members


def digest(members: Sequence[Member]) -> str:
    """Return the fingerprint of the inputs of a run's value."""
    return hashlib.sha256(json.dumps(members, ensure_ascii=False).encode()).hexdigest()


def judged(
    connection: Connection, known: ArchiveSchema, row: Mapping[str, Any], references: References | None = None
) -> list[SeriesEntry]:
    """Return the entry of a set for each run: a fresh one if there is one, else the newest."""
    references = references or References(connection)
    found = connection.execute("SELECT * FROM series_values WHERE name = ? ORDER BY number DESC", [row["name"]])
    names = [column[0] for column in found.description]
    stored: dict[Key, list[dict[str, Any]]] = {}
    for values in found.fetchall():
        one = dict(zip(names, values, strict=True))
        stored.setdefault(tuple(one[name] for name in KEY), []).append(one)
    now = members_now(connection, known, row["query"], row["against"])
    entries = []
    for key in sorted({*now, *stored}, key=lambda key: tuple(map(str, key))):
        members = now.get(key, [])
        mine = [(_because(one, members, row["method"], references), one) for one in stored.get(key, [])]
        because, best = min(mine, key=lambda pair: bool(pair[0]), default=("", None))
        entries.append(SeriesEntry(key, members, best, because))
    return entries


def _because(stored: Mapping[str, Any], members: Sequence[Member], method: str, references: References) -> str:
    if stored["members_sha256"] != digest(members):
        before, after = {one[0]: one for one in json.loads(stored["members"])}, {one[0]: one for one in members}
        changed = sum(before[name] != after[name] for name in before.keys() & after.keys())
        parts = [
            f"{number} {'spectrum' if number == 1 else 'spectra'} {change}"
            for number, change in (
                (len(after.keys() - before.keys()), "added"),
                (len(before.keys() - after.keys()), "no longer included"),
                (changed, "with changed numbers or conditions"),
            )
            if number
        ]
        return "; ".join(parts)
    for step in json.loads(stored["steps"]):
        now = METHODS[method][0] if step["operator"] == method else VERSIONS.get(step["operator"])
        if now != step["version"]:
            return f"{step['operator']} was version {step['version']} and is now {now or 'gone'}"
    return references.changed(stored["refs"], stored["grp"])


def titles(row: Mapping[str, Any]) -> dict[str, Number]:
    """Return field -> number of a set: ``edge_energy_slope``, or ``edge_energy_slope_over_temperature``."""
    over = "" if row["against"] == "pressure" else f"_over_{row['against']}"
    numbers = METHODS[row["method"]][1]

    def title(number: Number) -> str:
        base = number.name.removesuffix("_sigma")
        return f"{row['output']}_{base}{over}" + ("_sigma" if base != number.name else "")

    return {title(number): number for number in numbers}


def unit_of(number: Number, row: Mapping[str, Any]) -> str:
    """Return the unit of a number of a set."""
    y, x = row["unit"] or "1", BY_NAME[row["against"]].unit or "1"
    return {"x": x, "1": "1"}.get(number.unit) or (f"{y}/{x}" if x != "1" else y)


def load_series(connection: Any) -> list[dict[str, Any]]:
    """Update the values of runs in an index to its snapshot; return their rows for ``derived_fields``."""
    sets = sets_of(connection, dropped=True)
    if not sets:
        return []
    known, references = known_now(connection), References(connection)
    fields: list[dict[str, Any]] = []
    served: set[tuple[str, ...]] = set()
    for row in sets:
        named = titles(row)
        for title in ("state", *named, *(f"{title}:other" for title in named)):
            kind = "UTINYINT" if title == "state" else "DOUBLE"
            column = quoted(f"{row['name']}:{title}")
            connection.execute(f"ALTER TABLE spectra ADD COLUMN IF NOT EXISTS {column} {kind}")
        _fill(connection, row, judged(connection, known, row, references))
        if row["status"] == "active":
            kind_of = (row["operator"], row["method"], row["output"], row["against"])
            fields += _fields(row, preferred=kind_of not in served)
            served.add(kind_of)
    return fields


def _fill(connection: Any, row: Mapping[str, Any], entries: Sequence[SeriesEntry]) -> None:
    named, name = titles(row), row["name"]
    held = [entry for entry in entries if entry.stored is not None]
    columns: dict[str, list[Any]] = {part: [entry.key[i] for entry in held] for i, part in enumerate(KEY)}
    columns["state"] = [int(bool(entry.because)) for entry in held]
    columns["served"] = [not entry.because and (not row["absolute"] or _calibrated(entry.members)) for entry in held]
    for i, number in enumerate(named.values()):
        columns[f"v{i}"] = [entry.outputs.get(number.key) for entry in held]
    kinds = {"state": "UTINYINT", "served": "BOOLEAN", **dict.fromkeys(KEY, "VARCHAR")}
    select = ", ".join(f"unnest(?::{kinds.get(column, 'DOUBLE')}[]) AS {column}" for column in columns)
    state = quoted(f"{name}:state")
    every = [f"{name}:{title}{tail}" for title in named for tail in ("", ":other")]
    reset = ", ".join(f"{quoted(column)} = NULL" for column in [f"{name}:state", *every])
    connection.execute(f"UPDATE spectra SET {reset} WHERE {state} IS NOT NULL")
    sets = [f"{state} = j.state"]
    for i, title in enumerate(named):
        sets.append(f"{quoted(f'{name}:{title}')} = CASE WHEN j.served THEN j.v{i} END")
        sets.append(f"{quoted(f'{name}:{title}:other')} = CASE WHEN NOT j.served THEN j.v{i} END")
    same = " AND ".join(f"spectra.{part} IS NOT DISTINCT FROM j.{part}" for part in KEY)
    connection.execute(
        f"UPDATE spectra SET {', '.join(sets)} FROM (SELECT {select}) AS j WHERE {same}", list(columns.values())
    )


def _calibrated(members: Sequence[Member]) -> bool:
    return all(member[ENTERS.index("energy_calibration")] in CALIBRATED for member in members)


def _fields(row: Mapping[str, Any], *, preferred: bool) -> list[dict[str, Any]]:
    name, named = row["name"], titles(row)
    return [
        {
            "name": title,
            "unit": unit_of(number, row),
            "sigma_column": f"{title}_sigma" if f"{title}_sigma" in named else "",
            "meaning": f"{row['output']}: {number.meaning.format(x=row['against'])}",
            "sql": quoted(f"{name}:{title}"),
            "technique": row["technique"] or "",
            "derivation": name,
            "output": title,
            "operator": f"{row['method']} of {row['output']} along {row['against']} ({row['operator']})",
            "chain": f"{row['chain']} | {row['method']}(against={row['against']})",
            "refs": row["refs"] or "{}",
            "other": quoted(f"{name}:{title}:other"),
            "state": quoted(f"{name}:state"),
            "reasons": "",
            "absolute": bool(row["absolute"]),
            "main": number is next(iter(named.values())),
            "preferred": preferred,
        }
        for title, number in named.items()
    ]
