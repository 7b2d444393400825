"""Figures of selections: spectra, conditions, a quantity along pressure.

Each shows origin, units and snapshot, so that a figure on its own remains identifiable.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.schemas.errors import CallError, InvalidData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from barospec.catalogs.selection.selection import Selection

# Distinguishable with any color vision (Okabe and Ito, https://jfly.uni-koeln.de/color/).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MANY = 60
MOST_NAMED, MOST_JOINED = 20, 2000  # series in a legend; points with lines between them
LINE = 105  # characters of the smallest font across a figure
STYLE: Any = {  # rcParams; matplotlib types their names one by one
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    # For reproducible bytes.
    "svg.hashsalt": "barospec",
}


def new_figure(height: float = 3.6) -> tuple[Figure, Any]:
    """Return an empty figure of one column's width, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, height))
    return figure, figure.add_subplot()


def sign(figure: Figure, selection: Selection) -> None:
    """Write origin and source of the numbers in the lower right corner."""
    origins = sorted({str(origin) for origin in selection.columns(["origin"])["origin"]})
    shown = " and ".join(origin.upper() if origin != "measured" else origin for origin in origins)
    # A long query is wrapped, and a very long one shortened, so that origin and snapshot stay in the figure.
    query = textwrap.shorten(selection.query, 3 * LINE, placeholder=" …")
    text = textwrap.fill(f"{shown} · {query} · snapshot {selection.snapshot[:8]}", LINE)
    figure.supxlabel(text, fontsize=6, color="0.4", x=0.99, ha="right")


def spectra(selection: Selection) -> Figure:
    """Plot curves against energy, colored by pressure (or one color each, without pressures).

    Raises InvalidData if the selection is empty or has several kinds of spectra.
    """
    import matplotlib as mpl
    import xarray as xr

    dataset = selection.to_xarray()
    if not isinstance(dataset, xr.Dataset) or not len(selection):
        raise InvalidData(
            f"a figure shows one kind of spectra; this selection has {selection.counts() or 'none'}. Narrow the query."
        )
    data = "mu" if "mu" in dataset else "intensity"
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.2)
        pressure = np.asarray(dataset["pressure"].values, dtype=float)
        known = pressure[np.isfinite(pressure)]
        scale = mpl.colors.Normalize(known.min(), known.max()) if known.size and np.ptp(known) > 0 else None
        step = max(1, len(selection) // MANY)
        # One call: the blocks of the plotted spectra are read once, not once for each of them.
        drawn = dataset[["energy", data]].isel(spectrum=slice(None, None, step)).compute()
        energies, curves = drawn["energy"].values, drawn[data].values
        for place, row in enumerate(range(0, len(selection), step)):
            color = (
                "0.6"
                if scale is None or not np.isfinite(pressure[row])
                else mpl.colormaps["viridis"](scale(pressure[row]))
            )
            axes.plot(energies[place], curves[place], color=color, lw=0.8)
        if scale is not None:
            bar = figure.colorbar(mpl.cm.ScalarMappable(scale, "viridis"), ax=axes)
            bar.set_label("pressure (GPa)")
        axes.set_xlabel("energy (eV)")
        axes.set_ylabel("absorption µ(E), as recorded" if data == "mu" else "emission intensity, as recorded")
        if step > 1:
            axes.set_title(f"{len(curves)} of {len(selection):,} spectra are plotted", fontsize=8)
        sign(figure, selection)
    return figure


def conditions(selection: Selection) -> Figure:
    """Plot P-T paths: one line per run, points in the order of its steps."""
    import matplotlib as mpl

    found = selection.columns(["run", "step", "pressure", "temperature"])
    with mpl.rc_context(STYLE):
        figure, axes = new_figure()
        runs = sorted({str(run) for run in found["run"]})
        many = {"ls": "none", "ms": 1.5} if len(selection) > MOST_JOINED else {"ms": 4}
        for number, run in enumerate(runs):
            mine = (found["run"] == run) & np.isfinite(found["pressure"]) & np.isfinite(found["temperature"])
            if not mine.any():
                continue
            order = np.argsort(np.nan_to_num(found["step"][mine]), kind="stable")
            style = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)], **many}
            axes.plot(found["pressure"][mine][order], found["temperature"][mine][order], lw=0.8, label=run, **style)
        axes.set_xlabel("pressure (GPa)")
        axes.set_ylabel("temperature (K)")
        axes.set_ylim(bottom=0)
        _legend(axes)
        sign(figure, selection)
    return figure


FITS = ("", "line", "breakpoint")


def quantity(
    selection: Selection,
    operators: str,
    *,
    against: str = "pressure",
    relative: bool = False,
    fit: str = "",
    confidence: float = 0.95,
    **parameters: Any,
) -> Figure:
    """Plot the last operator's first output against a condition, with its uncertainty, one series per run and sample.

    Parameters
    ----------
    selection : Selection
    operators : str
        An operator or a chain.
    against : str
        A number field, or ``bond_length``.
    relative : bool
        Show the difference to the mean at the lowest value of `against` of each series.
    fit : {"", "line", "breakpoint"}
        Draw the weighted line of each series with its confidence band, or two lines that meet with the confidence interval
        of the breakpoint, as ``barospec series`` finds them.
    confidence : float
        Confidence level of band and interval.
    **parameters
        Parameters of the operators.

    Raises
    ------
    CallError, InvalidData
        If nothing can be plotted or fitted; see `series.gather`.
    """
    import matplotlib as mpl

    from barospec.catalogs.series.along import gather

    if fit not in FITS:
        raise CallError(f'fit = "{fit}" is not known. Choose line or breakpoint.')
    found = gather(selection, operators, against=against, by=("run", "sample"), **parameters)
    if not found.y.size:
        raise InvalidData(" ".join(found.notes) or "there is nothing to plot.")
    with mpl.rc_context(STYLE):
        figure, axes = new_figure()
        names = [name for name, *_ in found.series()]
        several = len({name.split(", ")[0] for name in names}) < len(names)
        for number, (name, x, y, sigma) in enumerate(found.series()):
            start = float(y[x == x.min()].mean()) if relative else 0.0
            color = COLORS[number % len(COLORS)]
            label = name if several else name.split(", ")[0]
            if fit:
                label += _draw_fit(axes, (x, y - start, sigma), fit, confidence, color)
            style = {"color": color, "fmt": MARKERS[number % len(MARKERS)], "ms": 4, "lw": 0.8, "capsize": 2}
            axes.errorbar(x, y - start, yerr=np.nan_to_num(sigma), label=label, **style)
        unit = found.against_unit
        axes.set_xlabel(f"{against.replace('_', ' ')} ({unit})" if unit else against.replace("_", " "))
        shown = found.name.replace("_", " ") + ("" if found.unit == "1" else f" ({found.unit})")
        axes.set_ylabel(f"change of {shown}" if relative else shown)
        axes.ticklabel_format(axis="y", useOffset=False)
        _legend(axes)
        # The figure states excluded spectra and mixed origins.
        axes.set_title("\n".join(line for note in found.notes for line in textwrap.wrap(note, LINE)), fontsize=6)
        sign(figure, selection)
    return figure


def _draw_fit(axes: Axes, points: tuple[Any, Any, Any], fit: str, confidence: float, color: str) -> str:
    """Draw a fit of one series; return its text for the legend."""
    from barospec.archive.statistics.series_fit import fit_breakpoint, fit_line

    x, y, sigma = points
    places = np.linspace(x.min(), x.max(), 201)
    if fit == "line":
        line = fit_line(x, y, sigma)
        half = line.band(places, confidence)
        axes.fill_between(places, line.at(places) - half, line.at(places) + half, color=color, alpha=0.15, lw=0)
        axes.plot(places, line.at(places), color=color, lw=0.8)
        return f": slope {line.slope:.3g} ± {line.slope_sigma:.2g}, band {100 * confidence:g} %"
    broken = fit_breakpoint(x, y, sigma, confidence=confidence)
    axes.axvspan(broken.low, broken.high, color=color, alpha=0.1, lw=0)
    axes.plot(places, broken.at(places), color=color, lw=0.8)
    return f": break at {broken.position:.3g} ({broken.low:.3g} to {broken.high:.3g}), p = {broken.p_value:.2g}"


def _legend(axes: Any) -> None:
    """Draw the legend; of many series it names the first and their number, since a longer list leaves no room for the points."""
    handles, labels = axes.get_legend_handles_labels()
    title = f"{MOST_NAMED} of {len(labels)} are named" if len(labels) > MOST_NAMED else None
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(labels) > len(COLORS) else {}
    axes.legend(handles[:MOST_NAMED], labels[:MOST_NAMED], fontsize=7, title=title, title_fontsize=7, **beside)


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the file name gives the format (png, pdf, svg)."""
    import matplotlib as mpl

    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise CallError(f'"{path.name}" must end in .png, .pdf or .svg.')
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[path.suffix.lower()]
    with mpl.rc_context(STYLE):  # makes the names within an SVG reproducible
        figure.savefig(path, dpi=200, metadata=metadata)
