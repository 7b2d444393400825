"""Any sequence of what people do to an archive, against a dict: arrays, index and derived values agree, and stale is never fresh."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from barospec.api import Archive
from barospec.archive.derived import count_entries
from barospec.archive.layout import Writer
from barospec.archive.operators.chain import run_chain
from barospec.archive.operators.registry import OPERATORS
from barospec.archive.store import Store
from barospec.catalogs import index
from barospec.catalogs.operator_table import VERSIONS

from .files_made import SETTINGS, edge

NUMBERS = st.integers(0, 3)
FRACTIONS = {"whole": 0.8, "half": 0.5}
POINTS = 60
AXIS = np.round(np.linspace(8250.0, 8500.0, POINTS), 4)


@dataclass
class Spectrum:
    """What the archive should hold of one."""

    seed: int
    shift: float | None = None
    flag: str | None = None
    labels: set[str] = field(default_factory=set)


@dataclass
class Entry:
    """What a stored value was computed from."""

    seed: int
    shift: float | None
    version: int


Model = tuple[dict[int, Spectrum], dict[tuple[str, int], Entry]]


def curve(seed: int) -> np.ndarray:
    return np.round(edge(AXIS, 8330.0 + 3 * seed, seed), 8)


def value(seed: int, shift: float | None, fraction: float) -> float:
    """The edge energy, computed without an archive."""
    arrays = {"energy": AXIS + (shift or 0.0), "mu": curve(seed)}
    return float(run_chain("edge_energy", arrays, {"fraction": fraction, "ensemble": 0})["edge_energy"])


class Archives(RuleBasedStateMachine):
    """Ingest, replace, align, store, refresh, flag, label, a new version, and looking back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.archive = Archive.create(Path(self.folder.name) / "archive")
        self.spectra: dict[int, Spectrum] = {}
        self.entries: dict[tuple[str, int], Entry] = {}
        self.stored: set[str] = set()
        self.written: dict[str, int] = {}
        self.past: list[tuple[str, Model]] = []
        self.operator = OPERATORS["edge_energy"]
        self.version = self.operator.version
        self.seeds = 0

    def teardown(self) -> None:
        OPERATORS["edge_energy"], VERSIONS["edge_energy"] = self.operator, self.operator.version
        self.folder.cleanup()

    def _ingest(self, number: int, *, replacing: bool) -> None:
        self.seeds += 1
        path = Path(self.folder.name) / f"{number}.xdi"
        lines = "\n".join(f"{e:.4f} {m:.8f}" for e, m in zip(AXIS, curve(self.seeds), strict=True))
        head = "# XDI/1.0 a/1\n# Element.symbol: Ni\n# Element.edge: K\n# Column.1: energy eV\n# Column.2: mutrans\n# ///\n"
        path.write_text(f"{head}# x\n#---\n# energy mutrans\n{lines}\n")
        given = [*SETTINGS, "energy_calibration=foil", f"step={number}"]
        assert self.archive.ingest([path], given, replace=replacing).ok

    @rule(number=NUMBERS)
    def ingest(self, number: int) -> None:
        """A new spectrum, or the same bytes again, which change nothing."""
        if number not in self.spectra:
            self._ingest(number, replacing=False)
            self.spectra[number] = Spectrum(self.seeds)

    @precondition(lambda self: self.spectra)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """Other data under the same name."""
        number = data.draw(st.sampled_from(sorted(self.spectra)))
        self._ingest(number, replacing=True)
        old = self.spectra[number]
        self.spectra[number] = Spectrum(self.seeds, flag=old.flag, labels=old.labels)

    @precondition(lambda self: self.spectra)
    @rule(data=st.data(), shift=st.sampled_from([0.5, -1.25]))
    def align(self, data: st.DataObject, shift: float) -> None:
        """A shift of the axis, which enters, and a pressure, which does not."""
        number = data.draw(st.sampled_from(sorted(self.spectra)))
        rows = self.archive.query(f"step = {number}", include=["bad"]).rows.tolist()
        store = Store(self.archive.location)
        with store.transaction("set") as work:
            Writer(work.root, work.changes).edit_spectra("xas/Ni-K", rows, {"energy_shift": shift, "pressure": 3.0})
            work.message = "set"
        self.spectra[number].shift = shift

    @precondition(lambda self: any(not spectrum.flag for spectrum in self.spectra.values()))
    @rule(name=st.sampled_from(sorted(FRACTIONS)))
    def store(self, name: str) -> None:
        """Store the values of all spectra that a query shows."""
        self.archive.derive("edge_energy", "xas", name=name, fraction=FRACTIONS[name], ensemble=0)
        self.stored.add(name)
        for number, spectrum in self.spectra.items():
            if not spectrum.flag and not self._fresh(name, number):
                self._compute(name, number)

    @precondition(lambda self: self.stored)
    @rule()
    def refresh(self) -> None:
        """Exactly what is stale is computed."""
        self.archive.refresh()
        for name, number in list(self.entries):
            if not self._fresh(name, number):
                self._compute(name, number)

    @precondition(lambda self: self.version < self.operator.version + 2)
    @rule()
    def new_version(self) -> None:
        """A release in which the operator gives other numbers."""
        self.version += 1
        OPERATORS["edge_energy"] = replace(self.operator, version=self.version)
        VERSIONS["edge_energy"] = self.version

    @precondition(lambda self: self.spectra)
    @rule(data=st.data(), bad=st.booleans())
    def flag(self, data: st.DataObject, bad: bool) -> None:
        """Somebody looked."""
        number = data.draw(st.sampled_from(sorted(self.spectra)))
        identity = self._id(number)
        if bad:
            self.archive.flag(identity, "bad", "glitch")
        else:
            self.archive.unflag(identity)
        self.spectra[number].flag = "bad" if bad else None

    @precondition(lambda self: self.spectra)
    @rule(data=st.data(), label=st.sampled_from(["fig 2", "talk"]))
    def label(self, data: st.DataObject, label: str) -> None:
        """A label put on, or taken off."""
        number = data.draw(st.sampled_from(sorted(self.spectra)))
        labels = self.spectra[number].labels
        verb = self.archive.unlabel if label in labels else self.archive.label
        assert verb(self._id(number), label) == [self._id(number)]
        labels ^= {label}

    @rule()
    def remember(self) -> None:
        """A moment to look back to."""
        spectra = {number: replace(one, labels=set(one.labels)) for number, one in self.spectra.items()}
        self.past.append((self.archive.snapshot, (spectra, {key: replace(e) for key, e in self.entries.items()})))

    def _id(self, number: int) -> str:
        return str(self.archive.query(f"step = {number}", include=["bad"]).columns(["spectrum_id"])["spectrum_id"][0])

    def _fresh(self, name: str, number: int) -> bool:
        entry = self.entries.get((name, number))
        now = self.spectra[number]
        return entry == Entry(now.seed, now.shift, self.version)

    def _compute(self, name: str, number: int) -> None:
        now = self.spectra[number]
        self.entries[name, number] = Entry(now.seed, now.shift, self.version)
        self.written[name] = self.written.get(name, 0) + 1

    @invariant()
    def agrees(self) -> None:
        """What the archive answers now is what the model says."""
        self._check(self.archive, (self.spectra, self.entries))
        root = Store(self.archive.location).read(self.archive.snapshot)
        assert {name: count_entries(root, name) for name in self.stored} == {
            name: self.written.get(name, 0) for name in self.stored
        }

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        """A snapshot answers as then; what is fresh is decided by the operators of today."""
        snapshot, model = data.draw(st.sampled_from(self.past))
        self._check(Archive(self.archive.location.root, at=snapshot), model)

    @precondition(lambda self: self.spectra)
    @rule()
    def rebuild(self) -> None:
        """An index made from nothing equals the one that followed each commit."""
        replayed = self._content()
        self.archive.rebuild_index()
        assert self._content() == replayed

    def _content(self) -> list[object]:
        path = index.publish(Store(self.archive.location), self.archive.snapshot)
        with index.connect(path) as connection:
            names = sorted(row[0] for row in index.values(connection, "SELECT column_name FROM (DESCRIBE spectra)"))
            listed = ", ".join(f'"{name}"' for name in names)
            return [names, *index.values(connection, f"SELECT {listed} FROM spectra ORDER BY grp, row")]

    def _check(self, archive: Archive, model: Model) -> None:
        spectra, entries = model
        if not spectra:
            return
        shown = {number for number, one in spectra.items() if not one.flag}
        with archive.ask("xas", columns=["step"]) as found:
            assert {row[0] for row in found.rows} == shown
            assert found.flagged == len(spectra) - len(shown)
        for label in ("fig 2", "talk"):
            with archive.ask(f'labels contains "{label}" including bad', columns=["step"]) as found:
                assert {row[0] for row in found.rows} == {n for n, one in spectra.items() if label in one.labels}
        for name in {name for name, _ in entries}:
            state = {
                number: entries[name, number] == Entry(one.seed, one.shift, self.version)
                for number, one in spectra.items()
                if (name, number) in entries
            }
            field_name = f"edge_energy[{name}]"
            with archive.ask(f"{field_name} > 0 eV including bad", columns=["step", field_name]) as found:
                served = {row[0]: row[1] for row in found.rows}
                stale = sum(found.stale.values())
            assert set(served) == {number for number, fresh in state.items() if fresh}
            assert stale == sum(not fresh for fresh in state.values())
            for number, edge_energy in served.items():
                now = spectra[number]
                assert edge_energy == value(now.seed, now.shift, FRACTIONS[name])


TestArchives = Archives.TestCase
TestArchives.settings = settings(
    max_examples=6,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
