"""Corrections after ingest: set conditions, withdraw spectra and bring them back, with actor, time, reason, old and new value.

A correction edits columns in a new snapshot and appends a record to ``events``. The fingerprint of the conditions stays
that of the ingested ones, so that the same file is recognized again; `kept` finds corrections that a file must not undo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.sheets.conditions import applies, require
from barospec.archive.sheets.ruby_pressure import from_gauge
from barospec.archive.store.events import event
from barospec.archive.store.read import array, read_table, spectra_group
from barospec.archive.store.repository import Store, Transaction, microseconds
from barospec.archive.store.write import Writer
from barospec.schemas.errors import CallError, InvalidData, did_you_mean
from barospec.schemas.values import check_text, counted, parse_value, show_value
from barospec.schemas.vocabulary import BY_NAME, SETTABLE, find_term

if TYPE_CHECKING:
    from barospec.archive.store.known_row import ExistingRow
    from barospec.archive.store.read import Group

# Row of a spectrum, and the keys by which ingest recognizes its file.
IDENTITY = ("technique", "edge", "line", "experiment", "run")
OF_PRESSURE = ("pressure_sigma", "pressure_method", "pressure_before", "pressure_after")
Find = Callable[[str], Sequence["ExistingRow"]]


@dataclass(frozen=True, slots=True)
class Edit:
    """Edit of one spectrum: field -> old and new value."""

    known: ExistingRow
    changed: Mapping[str, tuple[Any, Any]]

    @property
    def label(self) -> str:
        """The name of the spectrum for people."""
        return label_of(self.known.source)


@dataclass(slots=True)
class Edited:
    """Result of a correction, done or dry run."""

    edits: list[Edit] = field(default_factory=list)
    unchanged: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: str | None = None

    def add_problem(self, message: str) -> None:
        """Add a note unless it is there already."""
        if message not in self.notes:
            self.notes.append(message)


def label_of(source: Sequence[str]) -> str:
    """Return a spectrum's name from its source key.

    >>> label_of(("hc-1", "run-2", "raw/a.h5", "7.1", "transmission"))
    'scan 7.1 of run-2 (a.h5)'
    """
    _, run, file, scan, _ = source
    name = file.rpartition("/")[2]
    return f"{f'scan {scan} of ' if len(scan) > 1 or scan not in ('', '1') else ''}{run} ({name})" if name else run


def parse_fields(pairs: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Parse ``FIELD=VALUE`` into values by term, as in run sheets: units convert, a ± states the uncertainty.

    Raises
    ------
    CallError
        There is no such field, it cannot be set, or its value cannot be one.

    Examples
    --------
    >>> parse_fields(["P=156 kbar"])
    {'pressure': 15.6}
    """
    stated: dict[str, Any] = {}
    named: set[str] = set()
    for name, value in _pairs(pairs):
        term = find_term(name)
        settable = [t.name for t in SETTABLE if t.name not in IDENTITY]
        if term is None or (term.name not in settable and term.name not in IDENTITY):
            why = "the archive writes it itself" if term is not None else "there is no such field"
            raise CallError(
                f'"{name}" cannot be set: {why}.{did_you_mean(name, settable)} `barospec fields` lists fields.'
            )
        if term.name in IDENTITY:
            raise CallError(
                f"{term.name} cannot be set: it is part of a spectrum's identity. Correct the run sheet and ingest with "
                "--replace, or withdraw the spectrum."
            )
        if term.name in named:
            raise CallError(f"{term.name} is given twice.")
        named.add(term.name)
        try:
            # "medium=" is "not known" as well, though its "-" may mean no medium.
            read = parse_value(term, value) if value.strip() else {term.name: None}
        except InvalidData as error:
            raise CallError(str(error)) from None
        # A named field wins over a value stated with another one: "P=1 ± 0.1 GPa" pressure_sigma=0.2.
        stated.update({key: item for key, item in read.items() if key == term.name or key not in named})
    if not stated:
        raise CallError('there is nothing to set. Write FIELD=VALUE, such as pressure="15.6 GPa".')
    return stated


def _pairs(pairs: Sequence[str] | Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if isinstance(pairs, Mapping):
        for name, value in pairs.items():
            # repr of a float, so that no digit is lost on the way through the text.
            yield name, "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)
        return
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CallError(f'"{pair}" has no "=". Write FIELD=VALUE, such as pressure="15.6 GPa".')
        yield name, value


def corrected(columns: Mapping[str, Any], stated: Mapping[str, Any], report: Callable[[str], None]) -> dict[str, Any]:
    """Return all settable terms of a spectrum after a correction and its consequences.

    A new pressure or temperature loses the uncertainty (and method, and readings before and after) of the old one; a new
    reading of the gauge gives a new pressure where the old one came from it.

    Raises
    ------
    InvalidData
        A term does not apply to the spectrum, a required one would be lost, or the gauge's reading cannot become a pressure.
    """
    new = {**columns, **stated}
    for name, companions in (("pressure", OF_PRESSURE), ("temperature", ("temperature_sigma",))):
        if name in stated and stated[name] != columns.get(name):
            for companion in companions:
                if companion not in stated and columns.get(companion) is not None:
                    new[companion] = None
                    report(f"{companion} belonged to the old {name} and is unknown now; state it too, if you know it.")
    for name in _from_gauge(columns):
        if name not in stated:
            new[name] = None
    terms, warnings = from_gauge(new)
    new |= {name: value for name, value in terms.items() if name not in stated}
    for message in warnings:
        report(f"{message}.")
    for term in SETTABLE:
        if term.applies and new.get(term.name) is not None and not applies(term.applies, new):
            if stated.get(term.name) is not None:
                needed = " and ".join(f"{key} {' or '.join(values)}" for key, values in term.applies.items())
                raise InvalidData(f"{term.name} does not apply: it is for {needed}.")
            new[term.name] = None
            report(f"{term.name} does not apply any more and is dropped.")
    require(new)
    return new


def _from_gauge(columns: Mapping[str, Any]) -> list[str]:
    """Return the pressure terms of a spectrum that were computed from its gauge, to compute again after a correction."""
    lines = {part: columns.get(f"ruby_wavelength_{part}") for part in ("before", "after")}
    dropped = ["pressure", "pressure_sigma", "pressure_method"]
    dropped += [f"pressure_{part}" for part, line in lines.items() if line is not None]
    try:
        found, _ = from_gauge({name: value for name, value in columns.items() if name not in dropped})
    except InvalidData:
        return []
    return [name for name, value in found.items() if columns.get(name) == value]


def set_conditions(
    store: Store, find: Find, stated: Mapping[str, Any], *, reason: str, dry_run: bool = False
) -> Edited:
    """Correct conditions of some spectra, in one commit.

    Parameters
    ----------
    store : Store
    find : callable
        The spectra at a snapshot; called under the lock.
    stated : mapping
        From `parse_fields`.
    reason : str
        Kept with actor, time, old and new value in ``events``.
    dry_run : bool
        Only report what would be done.

    Returns
    -------
    Edited

    Raises
    ------
    InvalidData
        A spectrum cannot be corrected so; nothing is written.
    """
    _need(reason)

    def plan(root: Group, snapshot: str) -> Edited:
        report = Edited()
        for known in find(snapshot):
            try:
                new = corrected(known.columns, stated, report.add_problem)
            except InvalidData as error:
                raise InvalidData(f"{known.spectrum_id}, {label_of(known.source)}: {error}") from None
            changed = {
                t.name: (old, new.get(t.name))
                for t in SETTABLE
                if (old := known.columns.get(t.name)) != new.get(t.name)
            }
            if changed:
                report.edits.append(Edit(known, changed))
            else:
                report.unchanged += 1
        means = _texts(root, report.edits, "merged_into")
        if means:
            report.add_problem(
                f"{len(means)} of them are averaged into others, whose conditions stay as they are; merge again."
            )
        return report

    return _carry_out(store, "set", plan, reason, dry_run, f"set {', '.join(sorted(stated))}")


def set_status(store: Store, find: Find, status: str, *, reason: str, dry_run: bool = False) -> Edited:
    """Withdraw spectra (``withdrawn``), or bring back withdrawn ones (``active``), in one commit. Parameters as above."""
    verb = "withdraw" if status == "withdrawn" else "restore"
    _need(reason)

    def plan(root: Group, snapshot: str) -> Edited:
        report = Edited()
        for known in find(snapshot):
            if known.status == status:
                report.unchanged += 1
            elif known.status == "purged":
                raise InvalidData(f"{known.spectrum_id} was purged; its data are gone.")
            else:
                report.edits.append(Edit(known, {"status": (known.status, status)}))
        _care_for_means(root, report, status)
        return report

    return _carry_out(store, verb, plan, reason, dry_run, "withdrawn" if status == "withdrawn" else "brought back")


def _care_for_means(root: Group, report: Edited, status: str) -> None:
    """Show the scans of a withdrawn mean again, and hide those of one that is brought back."""
    if means := _texts(root, report.edits, "merged_into"):
        word = "scans" if len(means) > 1 else "scan"
        report.add_problem(
            f"{len(means)} {word} of them are averaged into {', '.join(sorted(set(means))[:3])}; that stays as it is."
        )
    if parents := _texts(root, report.edits, "parents"):
        outcome = "are shown again" if status == "withdrawn" else "are hidden behind it again"
        report.add_problem(f"the scans that were averaged into {'them' if len(parents) > 1 else 'it'} {outcome}.")


def _texts(root: Group, edits: Sequence[Edit], name: str) -> list[str]:
    """Return the values of a text column of some spectra, without empty ones."""
    found: list[str] = []
    for key in sorted({edit.known.group for edit in edits}):
        group = spectra_group(root, key)
        if name in group:
            rows = np.array(sorted(edit.known.row for edit in edits if edit.known.group == key))
            found += [str(value) for value in np.asarray(array(group, name).get_orthogonal_selection((rows,))) if value]
    return found


Plan = Callable[["Group", str], Edited]


def _carry_out(store: Store, verb: str, plan: Plan, reason: str, dry_run: bool, did: str) -> Edited:
    if dry_run:
        snapshot = store.location.head()
        return plan(store.read(snapshot), snapshot)

    def write(work: Transaction) -> Edited:
        report = plan(work.root, work.parent)
        if report.edits:
            write_edits(work, verb, report.edits, reason)
            count = len(report.edits)
            runs: dict[str, int] = {}
            for edit in report.edits:
                runs[edit.known.source[1]] = runs.get(edit.known.source[1], 0) + 1
            named = ", ".join(sorted(runs)[:8]) + (", …" if len(runs) > 8 else "")
            work.message = f"{counted(count, 'spectra')} {did} ({named}): {reason}"
            work.metadata = {"counts": {verb: count}, "runs": runs}
        return report

    report, written = store.write(verb, write)
    report.snapshot = written
    return report


def write_edits(work: Transaction, verb: str, edits: Sequence[Edit], reason: str) -> None:
    """Write edits and their events inside a transaction."""
    writer, now = Writer(work.root, work.changes), microseconds()
    columns: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for edit in edits:
        for name, (_, value) in edit.changed.items():
            columns.setdefault((edit.known.group, name), []).append((edit.known.row, value))
    for (group, name), pairs in columns.items():
        writer.edit_each(group, name, [row for row, _ in pairs], [value for _, value in pairs])
        if name == "status":
            hide_parents(writer, group, pairs)
    records = []
    for edit in edits:
        changed = {name: {"old": old, "new": new} for name, (old, new) in edit.changed.items()}
        details = {"revision": edit.known.revision, "changed": changed}
        records.append(event(verb, edit.known.spectrum_id, now, reason=reason, details=details))
    writer.append_table("events", records)


def hide_parents(writer: Writer, key: str, statuses: Sequence[tuple[int, str]]) -> None:
    """Hide the scans averaged into a spectrum while it is active; show them otherwise."""
    group = spectra_group(writer.root, key)
    if "parents" not in group:
        return
    rows = np.array([row for row, _ in statuses])
    parents = [str(text) for text in np.asarray(array(group, "parents").get_orthogonal_selection((rows,)))]
    if not any(parents):
        return
    names = [str(name) for name in np.asarray(array(group, "spectrum_id")[:])]
    place = {name: row for row, name in enumerate(names)}
    for (row, status), text in zip(statuses, parents, strict=True):
        hidden = [place[name] for name in text.split(", ") if name in place]
        if hidden:
            writer.edit_spectra(key, hidden, {"merged_into": names[row] if status == "active" else None})


def _need(reason: str) -> None:
    if not reason.strip():
        raise CallError('a correction needs a reason. Write --reason "ruby line misread".')
    check_text("reason", reason)


def kept(root: Group, identifiers: Iterable[str]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return the corrections in force: spectrum_id -> field -> value as ingested and as corrected.

    Parameters
    ----------
    root : Group
    identifiers : iterable of str
    """
    wanted = set(identifiers)
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    if not wanted:
        return found
    table = read_table(root, "events", ["action", "subject", "details"])
    for action, subject, details in zip(*table.values(), strict=True):
        if str(subject) not in wanted or str(action) not in ("set", "rescale_pressure", "restore", "replace"):
            continue
        content = json.loads(str(details) or "{}")
        if str(action) == "replace":
            found[str(subject)] = {name: (item["old"], item["new"]) for name, item in content.get("kept", {}).items()}
            continue
        mine = found.setdefault(str(subject), {})
        for name, item in content.get("changed", {}).items():
            if name in BY_NAME and name != "status":
                mine[name] = (mine[name][0] if name in mine else item["old"], item["new"])
    return found


def reapply_corrections(
    columns: dict[str, Any], corrections: Mapping[str, tuple[Any, Any]]
) -> dict[str, tuple[Any, Any]]:
    """Keep corrections against a file that is unchanged; return those kept. Changes `columns`."""
    standing = {name: (was, now) for name, (was, now) in corrections.items() if was != now and columns.get(name) == was}
    if {"pressure", "pressure_scale"} <= set(corrections) and "pressure" not in standing:
        # A file that states another pressure states it on its own scale.
        standing = {name: pair for name, pair in standing.items() if name not in (*OF_PRESSURE, "pressure_scale")}
    columns.update({name: now for name, (_, now) in standing.items()})
    return standing


def show_changes(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Return old and new values in words.

    >>> show_changes({"pressure": (15.1, 15.6)})
    'pressure 15.1 GPa -> 15.6 GPa'
    """
    return "; ".join(
        f"{name} {show_value(BY_NAME[name], old)} -> {show_value(BY_NAME[name], new)}"
        for name, (old, new) in changed.items()
    )
