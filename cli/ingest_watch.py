"""``barospec ingest --watch``: print new spectra and their values, and draw them over the previous pressure."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from barospec.cli._options import datasets_of
from barospec.cli._output import note, text_of
from barospec.schemas.errors import BarospecError, CallError
from barospec.schemas.values import counted

if TYPE_CHECKING:
    import xarray as xr

    from barospec import Archive
    from barospec.archive.ingest.report import IngestReport
    from barospec.catalogs.selection.selection import Selection

LABELS = (
    "spectrum_id",
    "run",
    "source_file",
    "source_scan",
    "technique",
    "edge",
    "pressure",
    "temperature",
    "point_count",
)
# Fields that two spectra must share to be compared.
KIN = ("run", "sample", "technique", "edge", "signal")
# More than these at once is the first look at a full folder; list only the last ones.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of ``--watch``."""

    folder: Path
    sheet: Path | None
    settings: Sequence[str]
    replace: bool
    chain: str
    picture: Path
    settle: float
    every: float


def follow(opened: Archive, wanted: Wanted) -> None:
    """Ingest and show new scans until interrupted; exit code 1 if anything was refused."""
    if wanted.sheet is None and not wanted.settings:
        raise CallError("--watch needs --sheet SHEET, or --set FIELD=VALUE for the fields that the files do not state.")
    if wanted.chain:
        _check_chain(wanted)
    asked = _asked_to_end()
    count = refused = 0
    reported: set[str] = set()
    note(f"watching {wanted.folder}; press Ctrl-C to stop")
    for report in opened.watch(
        wanted.folder,
        wanted.sheet,
        wanted.settings,
        replace=wanted.replace,
        settle=wanted.settle,
        every=wanted.every,
    ):
        _show(opened, report, wanted, reported)
        count += report.added + report.replaced
        refused += sum(problem.severity == "error" for problem in report.problems)
        if asked():
            break
    note("stopped; all spectra shown are in the archive")
    print(f"{counted(count, 'spectra')} added, {counted(refused, 'problems')}.")
    raise typer.Exit(1 if refused else 0)


def _asked_to_end() -> Callable[[], bool]:
    """Return a function that is True after Ctrl-C or SIGTERM.

    The current step is finished first: DuckDB answers an exception from a signal with an error of its own. A second
    signal interrupts at once.
    """
    asked: list[int] = []

    def note_it(number: int, frame: FrameType | None) -> None:
        if asked:
            signal.default_int_handler(number, frame)
        asked.append(number)
        note("stopping after the current step; press Ctrl-C again to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note_it)
    return lambda: bool(asked)


def _check_chain(wanted: Wanted) -> None:
    """Raise an error for a misspelled chain at the start, not after the first scan."""
    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator

    for name, _ in parse_chain(wanted.chain):
        find_operator(name)
    if wanted.picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise CallError(
            f'--picture "{wanted.picture.name}" does not end in .png, .pdf or .svg. Name a file of one of these types.'
        )


def _show(opened: Archive, report: IngestReport, wanted: Wanted, reported: set[str]) -> None:
    for problem in report.problems:
        if problem.severity != "note":
            note(f"{problem.severity}: {problem}")
    if not report.spectrum_ids:
        return
    clock = time.strftime("%H:%M:%S")
    ids = report.spectrum_ids[-LISTED:]
    if len(report.spectrum_ids) > LISTED:
        print(f"{clock}  {len(report.spectrum_ids)} spectra; the last {LISTED}:")
    selection = opened.query(f"scans with spectrum_id in ({', '.join(ids)})")
    columns = selection.columns(LABELS)
    values = _values(opened, selection, wanted.chain, reported) if wanted.chain else {}
    rows = zip(*(columns[name] for name in LABELS), strict=True)
    for spectrum_id, run, file, scan, _, edge, pressure, temperature, points in rows:
        line = [str(run), f"{file} [{scan}]", str(edge), f"{text_of(pressure)} GPa", f"{text_of(temperature)} K"]
        print(
            "  ".join([clock, spectrum_id[:8], *line, f"{points:.0f} points", values.get(spectrum_id, "")]).rstrip(),
            flush=True,
        )
    if wanted.chain:
        try:
            print(f"{clock}  {draw(opened, report.spectrum_ids[-1], wanted.picture)}", flush=True)
        except (BarospecError, OSError) as error:
            note(f"no picture: {error}")


def _values(opened: Archive, selection: Selection, chain: str, reported: set[str]) -> Mapping[str, str]:
    """Return the first output of the chain for each spectrum with its sigma, or the reason why there is none."""
    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator

    last = find_operator(parse_chain(chain)[-1][0])
    name = next((name for name, output in last.outputs.items() if not output.per_point), "")
    found: dict[str, str] = {}
    for part, parameters in _parts(opened, selection, chain, reported):
        try:
            computed = [dataset.load() for dataset in datasets_of(part.apply(chain, **parameters))]
        except BarospecError as error:
            note(f"{chain}: {error}")
            continue
        for dataset in computed:
            for row, spectrum_id in enumerate(dataset["spectrum_id"].values):
                found[str(spectrum_id)] = _value(dataset, row, name, last) if name else ""
    return found


def _parts(
    opened: Archive, selection: Selection, chain: str, reported: set[str]
) -> Iterator[tuple[Selection, dict[str, Any]]]:
    """Yield the new spectra by run and kind, with default parameters of the chain; report each default once."""
    labels = selection.columns(("spectrum_id", *KIN))
    members: dict[tuple[str, ...], list[str]] = {}
    for spectrum_id, *kind in zip(*labels.values(), strict=True):
        members.setdefault(tuple(map(str, kind)), []).append(str(spectrum_id))
    for group, ids in members.items():
        parameters, line = _not_given(opened, chain, dict(zip(KIN, group, strict=True)))
        for text in line:
            if text not in reported:
                note(text)
                reported.add(text)
        yield opened.query(f"scans with spectrum_id in ({', '.join(ids)})"), parameters


def _not_given(opened: Archive, chain: str, mine: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return default parameters for a chain during a measurement, and messages about them.

    A foil is aligned to the tabulated energy of the edge; an operator that compares with one reference compares with
    the first spectrum of the run.
    """
    from barospec.archive.ingest.edge_table import edge_energy
    from barospec.archive.operators.chain.execute import parse_chain
    from barospec.archive.operators.registry import find_operator

    parameters: dict[str, Any] = {}
    line: list[str] = []
    for name, given in parse_chain(chain):
        wanted = find_operator(name).references
        if name == "align" and "to" not in given and (energy := edge_energy(mine["edge"])) is not None:
            parameters["align.to"] = energy
            line.append(
                f"foils at {energy:g} eV, the tabulated {mine['edge']} edge; choose another energy with align(to=...)"
            )
        elif wanted is not None and wanted.fewest == 1 and not wanted.several and wanted.name not in given:
            kin, when = _kin(opened, mine)
            first, pressure = (kin[key][when.argmin()] for key in ("spectrum_id", "pressure"))
            parameters[f"{name}.{wanted.name}"] = f'spectrum_id = "{first}"'
            shown = "pressure not known" if pressure != pressure else f"{pressure:.5g} GPa"
            line.append(
                f'{name} against {first[:8]} ({shown}), the first of {mine["run"]}; choose another with {name}({wanted.name}="...")'
            )
    return parameters, line


def _value(dataset: xr.Dataset, row: int, name: str, operator: Any) -> str:
    value = float(dataset[name].values[row])
    if value != value:
        code = int(dataset[operator.quality].values[row]) if operator.quality in dataset else 0
        return f"{name}: none ({operator.reasons[code]})"
    unit = operator.outputs[name].unit.replace("1", "")
    sigma = f" ± {float(dataset[f'{name}_sigma'].values[row]):.2g}" if f"{name}_sigma" in dataset else ""
    return f"{name} {value:.7g}{sigma} {unit}".rstrip()


def draw(opened: Archive, spectrum_id: str, path: Path) -> str:
    """Draw a spectrum over the newest one of its run at another pressure; return what was drawn.

    The file is replaced in one step: a viewer never shows half a picture.
    """
    import matplotlib as mpl

    from barospec.catalogs.plots import spectra

    new = opened.query(f'scans with spectrum_id = "{spectrum_id}"')
    before = _before(opened, new)
    with mpl.rc_context(spectra.STYLE):
        figure, axes = spectra.new_figure()
        reported = []
        for selection, color in ((before, "0.6"), (new, spectra.COLORS[0])):
            if selection is not None:
                energy, curve, label = _curve(selection)
                pressure = float(selection.columns(["pressure"])["pressure"][0])
                shown = "pressure not known" if pressure != pressure else f"{pressure:.5g} GPa"
                axes.plot(energy, curve, color=color, lw=1.0, label=shown)
                axes.set_ylabel(label)
                reported.append(shown)
        axes.set_xlabel("energy (eV)")
        axes.legend(fontsize=7)
        spectra.sign(figure, new)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    spectra.save(figure, part)
    part.replace(path)
    return f"{path}: {reported[-1]}" + (f" over {reported[0]}" if len(reported) > 1 else "")


def _kin(opened: Archive, mine: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """Return spectra of the same run, sample, edge, technique and signal, and the time of measurement (or ingest)."""
    import numpy as np

    kin = opened.query("scans", **{name: str(mine[name]) for name in ("run", "technique", "edge")})
    found = kin.columns(("spectrum_id", "sample", "signal", "pressure", "time", "ingested"))
    alike = (found["sample"] == mine["sample"]) & (found["signal"] == mine["signal"])
    found = {name: np.asarray(values)[alike] for name, values in found.items()}
    return found, np.where(np.isnat(found["time"]), found["ingested"], found["time"])


def _before(opened: Archive, new: Selection) -> Selection | None:
    """Return the newest spectrum of the same run, sample, edge, technique and signal at another pressure."""
    import numpy as np

    mine = {name: values[0] for name, values in new.columns((*KIN, "pressure")).items()}
    found, when = _kin(opened, mine)
    pressures = np.asarray(found["pressure"], dtype=float)
    other = np.isfinite(pressures)
    other &= (
        ~np.isclose(pressures, float(mine["pressure"]), atol=1e-6) if mine["pressure"] == mine["pressure"] else True
    )
    if not other.any():
        return None
    newest = np.flatnonzero(other)[np.argmax(when[other])]
    return opened.query(f'scans with spectrum_id = "{found["spectrum_id"][newest]}"')


def _curve(selection: Selection) -> tuple[Any, Any, str]:
    """Return energy and curve of one spectrum: normalized absorption, or emission relative to its maximum."""
    import numpy as np

    if selection.columns(["technique"])["technique"][0] == "xas":
        dataset = datasets_of(selection.apply("normalize"))[0]
        return dataset["energy"].values[0], dataset["norm"].values[0], "normalized absorption"
    dataset = datasets_of(selection.to_xarray())[0]
    intensity = dataset["intensity"].values[0]
    return dataset["energy"].values[0], intensity / np.nanmax(intensity), "emission intensity relative to its maximum"
