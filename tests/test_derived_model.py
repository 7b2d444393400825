"""Any sequence of what people do to an archive, against a dict: arrays, index and derived values agree, and stale is never fresh."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from barospec import Archive
from barospec.archive.derived.store import count_entries
from barospec.archive.operators.chain.execute import run_chain
from barospec.archive.operators.registry import OPERATORS
from barospec.archive.store.repository import Store
from barospec.archive.verify.derived import check_derived
from barospec.archive.verify.report import Verified
from barospec.catalogs.index import build, database
from barospec.catalogs.query.resolve.operator_table import VERSIONS

from .files_made import SETTINGS, edge

NUMBERS = st.integers(0, 3)
FRACTIONS = {"whole": 0.8, "half": 0.5}
POINTS = 60
AXIS = np.round(np.linspace(8250.0, 8500.0, POINTS), 4)


@dataclass
class Spectrum:
    """What the archive should hold of one."""

    identity: int
    seed: int
    revision: int = 1
    shift: float | None = None
    withdrawn: bool = False
    flag: str | None = None
    labels: set[str] = field(default_factory=set)

    @property
    def shown(self) -> bool:
        """Whether a query finds it."""
        return not self.withdrawn and not self.flag


@dataclass
class Entry:
    """What a stored value was computed from."""

    seed: int
    shift: float | None
    version: int


NONE = Entry(-1, None, -1)  # what a restored state did not have
Entries = dict[tuple[str, int, int], Entry]  # by set, identity and revision of the spectrum: the newest


@dataclass
class Model:
    """What an archive should answer."""

    spectra: dict[int, Spectrum] = field(default_factory=dict)
    entries: Entries = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        """As it is now."""
        spectra = {number: replace(one, labels=set(one.labels)) for number, one in self.spectra.items()}
        return Model(spectra, dict(self.entries), set(self.sets))


def curve(seed: int) -> np.ndarray:
    return np.round(edge(AXIS, 8330.0 + 3 * seed, seed), 8)


def value(seed: int, shift: float | None, fraction: float) -> float:
    """The edge energy, computed without an archive."""
    arrays = {"energy": AXIS + (shift or 0.0), "mu": curve(seed)}
    return float(run_chain("edge_energy", arrays, {"fraction": fraction, "ensemble": 0})["edge_energy"])


class Archives(RuleBasedStateMachine):
    """Ingest, replace, correct, withdraw, store, refresh, flag, label, a new version, restoring, and looking back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.archive = Archive.create(Path(self.folder.name) / "archive")
        self.now = Model()
        self.revisions: dict[int, int] = {}
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
        """A new spectrum."""
        if number not in self.now.spectra:
            self._ingest(number, replacing=False)
            self.now.spectra[number] = Spectrum(self.seeds, self.seeds)
            self.revisions[self.seeds] = 1

    @precondition(lambda self: self._active())
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """Other data under the same name; corrections and flags stay."""
        number = data.draw(st.sampled_from(self._active()))
        self._ingest(number, replacing=True)
        one = self.now.spectra[number]
        self.revisions[one.identity] += 1
        one.seed, one.revision = self.seeds, self.revisions[one.identity]

    @precondition(lambda self: self._active())
    @rule(data=st.data(), shift=st.sampled_from([0.5, -1.25, None]))
    def correct(self, data: st.DataObject, shift: float | None) -> None:
        """A correction of the axis, which enters, and of a pressure, which does not; or taking it back."""
        number = data.draw(st.sampled_from(self._active()))
        fields = {"energy_shift": None if shift is None else f"{shift} eV", "pressure": f"{3 + (shift or 0)} GPa"}
        self.archive.set(self._id(number), fields, reason="foil")
        self.now.spectra[number].shift = shift

    @precondition(lambda self: self.now.spectra)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Withdraw a spectrum, or bring it back."""
        number = data.draw(st.sampled_from(sorted(self.now.spectra)))
        one = self.now.spectra[number]
        (self.archive.reinstate if one.withdrawn else self.archive.withdraw)(self._id(number), reason="sample")
        one.withdrawn = not one.withdrawn

    @precondition(lambda self: any(one.shown for one in self.now.spectra.values()))
    @rule(name=st.sampled_from(sorted(FRACTIONS)))
    def store(self, name: str) -> None:
        """Store the values of all spectra that a query shows."""
        self.archive.derive("edge_energy", "xas", name=name, fraction=FRACTIONS[name], ensemble=0)
        self.now.sets.add(name)
        for one in self.now.spectra.values():
            if one.shown and not self._fresh(self.now, name, one):
                self._compute(name, one)

    @precondition(lambda self: self.now.sets)
    @rule()
    def refresh(self) -> None:
        """Exactly what is stale is computed."""
        reports = self.archive.refresh()
        computed = 0
        for name in self.now.sets:
            for one in self.now.spectra.values():
                if not one.withdrawn and self._held(self.now, name, one) and not self._fresh(self.now, name, one):
                    self._compute(name, one)
                    computed += 1
        assert sum(report.computed for report in reports) == computed

    @precondition(lambda self: self.version < self.operator.version + 2)
    @rule()
    def new_version(self) -> None:
        """A release in which the operator gives other numbers."""
        self.version += 1
        OPERATORS["edge_energy"] = replace(self.operator, version=self.version)
        VERSIONS["edge_energy"] = self.version

    @precondition(lambda self: self.now.spectra)
    @rule(data=st.data(), bad=st.booleans())
    def flag(self, data: st.DataObject, bad: bool) -> None:
        """Somebody looked."""
        number = data.draw(st.sampled_from(sorted(self.now.spectra)))
        identity = self._id(number)
        if bad:
            self.archive.flag(identity, "bad", "glitch")
        else:
            self.archive.unflag(identity)
        self.now.spectra[number].flag = "bad" if bad else None

    @precondition(lambda self: self.now.spectra)
    @rule(data=st.data(), label=st.sampled_from(["fig 2", "talk"]))
    def label(self, data: st.DataObject, label: str) -> None:
        """A label put on, or taken off."""
        number = data.draw(st.sampled_from(sorted(self.now.spectra)))
        labels = self.now.spectra[number].labels
        verb = self.archive.unlabel if label in labels else self.archive.label
        assert verb(self._id(number), label) == [self._id(number)]
        labels ^= {label}

    @rule()
    def remember(self) -> None:
        """A moment to look back to."""
        self.past.append((self.archive.snapshot, self.now.copy()))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """An earlier state becomes the newest: what was computed since is not served."""
        snapshot, then = data.draw(st.sampled_from(self.past))
        self.archive.restore(snapshot)
        entries = dict(self.now.entries)
        for key in entries:
            if key[0] in then.sets:  # of a set that came later nothing is used at all
                entries[key] = then.entries.get(key, NONE)
        self.now = replace(then.copy(), entries=entries)
        root = Store(self.archive.location).read(self.archive.snapshot)
        self.written = {name: count_entries(root, name) for name in FRACTIONS}

    def _active(self) -> list[int]:
        return sorted(number for number, one in self.now.spectra.items() if not one.withdrawn)

    def _id(self, number: int) -> str:
        asked = "SELECT spectrum_id FROM spectra WHERE step = ? AND status IN ('active', 'withdrawn')"
        with self.archive.connection() as connection:
            return str(database.values(connection, asked, [number])[0][0])

    def _entry(self, model: Model, name: str, one: Spectrum) -> Entry | None:
        """The entry that counts: of the newest revision that the spectrum has reached."""
        for revision in range(one.revision, 0, -1):
            if (name, one.identity, revision) in model.entries:
                return model.entries[name, one.identity, revision]
        return None

    def _held(self, model: Model, name: str, one: Spectrum) -> bool:
        return self._entry(model, name, one) is not None

    def _fresh(self, model: Model, name: str, one: Spectrum) -> bool:
        return self._entry(model, name, one) == Entry(one.seed, one.shift, self.version)

    def _compute(self, name: str, one: Spectrum) -> None:
        self.now.entries[name, one.identity, one.revision] = Entry(one.seed, one.shift, self.version)
        self.written[name] = self.written.get(name, 0) + 1

    @invariant()
    def agrees(self) -> None:
        """What the archive answers now is what the model says."""
        self._check(self.archive, self.now)
        root = Store(self.archive.location).read(self.archive.snapshot)
        assert {name: count_entries(root, name) for name in FRACTIONS} == {
            name: self.written.get(name, 0) for name in FRACTIONS
        }
        report = Verified()
        check_derived(root, report, lambda *_: None)
        assert report.ok, report.faults

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        """A snapshot answers as then; what is fresh is decided by the operators of today."""
        snapshot, model = data.draw(st.sampled_from(self.past))
        self._check(Archive(self.archive.location.root, at=snapshot), model)

    @precondition(lambda self: self.now.spectra)
    @rule()
    def rebuild(self) -> None:
        """An index made from nothing equals the one that followed each commit."""
        replayed = self._content()
        self.archive.rebuild_index()
        assert self._content() == replayed

    def _content(self) -> list[object]:
        path = build.publish(Store(self.archive.location), self.archive.snapshot)
        with database.connect(path) as connection:
            names = sorted(row[0] for row in database.values(connection, "SELECT column_name FROM (DESCRIBE spectra)"))
            listed = ", ".join(f'"{name}"' for name in names)
            return [names, *database.values(connection, f"SELECT {listed} FROM spectra ORDER BY grp, row")]

    def _check(self, archive: Archive, model: Model) -> None:
        there = {number: one for number, one in model.spectra.items() if not one.withdrawn}
        if not there:
            return
        with archive.ask("xas", columns=["step"]) as found:
            assert {row[0] for row in found.rows} == {number for number, one in there.items() if one.shown}
            assert found.flagged == sum(not one.shown for one in there.values())
        for label in ("fig 2", "talk"):
            with archive.ask(f'labels contains "{label}" including bad', columns=["step"]) as found:
                assert {row[0] for row in found.rows} == {n for n, one in there.items() if label in one.labels}
        for name in model.sets:
            state = {
                number: self._fresh(model, name, one) for number, one in there.items() if self._held(model, name, one)
            }
            field_name = f"edge_energy[{name}]"
            with archive.ask(f"{field_name} > 0 eV including bad", columns=["step", field_name]) as found:
                served = {row[0]: row[1] for row in found.rows}
                stale = sum(found.stale.values())
            assert set(served) == {number for number, fresh in state.items() if fresh}
            assert stale == sum(not fresh for fresh in state.values())
            for number, edge_energy in served.items():
                assert edge_energy == value(there[number].seed, there[number].shift, FRACTIONS[name])


TestArchives = Archives.TestCase
TestArchives.settings = settings(
    max_examples=6,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
