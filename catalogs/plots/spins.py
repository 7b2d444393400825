"""Figures of spin models: correlations, levels, couplings per scale, weights of the two descriptions.

Each plots models or plain numbers and states the source of its numbers. Two pressures are
published; values between them are drawn, and labeled, as interpolations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.spins.chain import hopping_to_spins
from barospec.archive.spins.comparison import CLUSTER_E_CT, find_record, paper_against_exact
from barospec.archive.spins.composites import PICTURES, picture_weights
from barospec.archive.spins.models import SpinModel, trilayer
from barospec.archive.spins.observables import spin_correlations, spin_spectrum
from barospec.archive.spins.sheets.model_record import ModelRecord
from barospec.catalogs.plots.spectra import COLORS, STYLE
from barospec.schemas.errors import CallError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_PAIRS = (("Xu", "Xm"), ("Xu", "Xl"), ("Zu", "Zm"), ("Zu", "Zl"))


def _figure(columns: int = 1, height: float = 3.6, width: float = 5.4) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _sign(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=6, color="0.4", x=0.99, ha="right")


def correlations(
    *, hund: float = 0.57, ratios: tuple[float, float] = (0.2, 2.0), temperatures: Sequence[float] = (0.0, 300.0, 600.0)
) -> Figure:
    """Plot correlations of the trilayer against J_ZZ/J_H and against temperature.

    Parameters
    ----------
    hund : float
        J_H of all layers in eV; the ratio varies J_ZZ.
    ratios : tuple of float
        Range of J_ZZ/J_H.
    temperatures : sequence of float
        In K; one line style for each, on the left. On the right, the two published ratios up to 2000 K.

    Raises
    ------
    CallError
        If there are more temperatures than line styles.
    """
    import matplotlib as mpl

    styles = ("-", "--", ":", "-.")
    if len(temperatures) > len(styles):
        raise CallError(f"{len(temperatures)} temperatures do not fit into one figure; give {len(styles)} or fewer.")
    model = trilayer()
    ratio = np.linspace(*ratios, 181)
    with mpl.rc_context(STYLE):
        figure, (left, right) = _figure(2, 4.2, 8.2)
        for style, kelvin in zip(styles, temperatures, strict=False):
            found = spin_correlations(model, {"J_H": hund, "J_ZZ": hund * ratio}, kelvin)
            _draw_pairs(left, model, ratio, np.asarray(found["spin_correlation"].values), style)
        left.axvline(0.962, color="0.7", lw=0.8)
        left.annotate("weights cross", (0.962, 0.98), (3, 0), xycoords=("data", "axes fraction"), va="top",
                      textcoords="offset points", fontsize=6, color="0.4")  # fmt: skip
        left.set_xlabel("J$_{ZZ}$ / J$_H$")
        left.set_ylabel("⟨S$_i$·S$_j$⟩ (ħ²)")
        kelvin_axis = np.linspace(0, 2000, 161)
        for style, (h, z) in zip(styles, ((0.63, 0.36), (0.57, 0.66)), strict=False):
            found = spin_correlations(model, {"J_H": h, "J_ZZ": z}, kelvin_axis)
            _draw_pairs(right, model, kelvin_axis, np.asarray(found["spin_correlation"].values), style)
        right.set_xlabel("temperature (K)")
        for axes, names in ((left, [f"{kelvin:g} K" for kelvin in temperatures]), (right, ["low P", "high P"])):
            axes.axhline(0, color="0.8", lw=0.6)
            _legend(axes, [_pair_name(a, b) for a, b in _PAIRS], list(zip(styles, names, strict=False)))
        _sign(figure, f"six-spin model, exact · left J_H {hund:g} eV · right 0.63/0.36 and 0.57/0.66 eV")
    return figure


def _pair_name(a: str, b: str) -> str:
    return f"{a[0]}$_{a[1]}$·{b[0]}$_{b[1]}$"


def _draw_pairs(axes: Any, model: SpinModel, x: np.ndarray, pairs: np.ndarray, style: str) -> None:
    for color, (a, b) in zip(COLORS, _PAIRS, strict=False):
        axes.plot(x, pairs[:, model.site(a), model.site(b)], style, color=color, lw=1.1)


def _legend(axes: Any, colored: Sequence[str], styled: Sequence[tuple[str, str]]) -> None:
    """Draw the meanings of colors and line styles below the axes, where no curve runs."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, lw=1.4, label=name) for color, name in zip(COLORS, colored, strict=False)]
    handles += [Line2D([], [], color="0.3", ls=style, lw=1.1, label=name) for style, name in styled]
    columns = max(len(colored), len(styled))
    axes.legend(handles=handles, fontsize=6.5, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.17))


def levels(records: Sequence[ModelRecord], compound: str = "La4Ni3O10") -> Figure:
    """Plot excitation energies of the trilayer against pressure, between the two published sets of couplings.

    Parameters
    ----------
    records : sequence of ModelRecord
        Models with the eV scale of both phases.
    compound : str
        Name of the compound.
    """
    import matplotlib as mpl

    ends = [find_record(records, compound, "trilayer", "eV", f"{phase} pressure") for phase in ("low", "high")]
    part = np.linspace(0, 1, 121)
    pressure = ends[0].pressure + part * (ends[1].pressure - ends[0].pressure)
    values = {
        name: ends[0].value(name) + part * (ends[1].value(name) - ends[0].value(name)) for name in ("J_H", "J_ZZ")
    }
    found = spin_spectrum(trilayer(), values)
    energy, spin, parity = (np.asarray(found[name].values, dtype=float) for name in ("energy", "total_spin", "parity"))
    with mpl.rc_context(STYLE):
        figure, (axes,) = _figure(1, 4.4)
        for total in np.unique(spin):
            for sign in (1, -1):
                mine = (spin == total) & (parity == sign)
                for rank in range(int(mine.sum(axis=1).max())):
                    # The k-th level of one spin and parity: levels of one block do not cross.
                    row = np.array([e[m][rank] - e[0] for e, m in zip(energy, mine, strict=True)])
                    label = f"S = {total:g}, {'even' if sign > 0 else 'odd'}" if rank == 0 else None
                    color = COLORS[int(total)]
                    axes.plot(pressure, row, "-" if sign > 0 else "--", color=color, lw=1.1, label=label)
        for end in ends:
            axes.axvline(end.pressure, color="0.7", lw=0.8)
        axes.set_xlabel("pressure (GPa)")
        axes.set_ylabel("energy above the ground state (eV)")
        axes.legend(fontsize=6, ncols=2, loc="upper left")
        axes.set_ylim(bottom=-0.02, top=1.28 * float(np.max(energy - energy[:, :1])))
        _sign(
            figure, f"{compound}, six-spin model · published at the gray lines, couplings INTERPOLATED linearly between"
        )
    return figure


def couplings(records: Sequence[ModelRecord], compound: str = "La4Ni3O10") -> Figure:
    """Plot printed and exact couplings of each scale side by side, as in the paper's tables.

    Parameters
    ----------
    records : sequence of ModelRecord
        All published models of the compound.
    compound : str
        Name of the compound.
    """
    import matplotlib as mpl

    rows = {(row.quantity, row.phase): row for row in reversed(paper_against_exact(records, compound))}
    low, high = "low pressure", "high pressure"
    # Reversed above, so that the first row of a quantity, at the cluster's E_CT, is kept.
    scales = {
        "eV scale": [(f"{name}, cluster", phase) for phase in (low, high) for name in ("J_H(l)", "J_H(m)", "J_ZZ")],
        "sub-eV scale": [
            ("J(ml), tensor basis", low), ("J(ml), polynomial basis", low), ("J(lt), one J_H", high), ("J(lt), cluster's J_H", high),
            ("J(mt), one J_H", high), ("vacancy J(ml), one J_H", high), ("vacancy J(ml), cluster", high),
        ],
    }  # fmt: skip
    with mpl.rc_context(STYLE):
        figure, panels = _figure(2, 3.6, 8.6)
        for axes, (scale, keys) in zip(panels, scales.items(), strict=True):
            place = np.arange(len(keys))
            chosen = [rows[key] for key in keys]
            axes.barh(place - 0.2, [row.paper for row in chosen], 0.38, color=COLORS[5], label="paper")
            axes.barh(place + 0.2, [row.exact for row in chosen], 0.38, color=COLORS[0], label="exact")
            for k, row in enumerate(chosen):
                if np.isnan(row.paper):
                    axes.text(0.005, k - 0.2, "not printed", fontsize=6, va="center", color="0.4")
            words = {low: "low P", high: "high P"}
            axes.set_yticks(
                place,
                [
                    f"{quantity.removesuffix(', cluster') if scale == 'eV scale' else quantity}, {words[phase]}"
                    for quantity, phase in keys
                ],
                fontsize=7,
            )
            axes.invert_yaxis()
            axes.axvline(0, color="0.4", lw=0.6)
            axes.set_xlabel("coupling (eV)")
            axes.set_title(scale, fontsize=9)
        panels[1].legend(fontsize=7, loc="lower left")
        values = ", ".join(f"{phase} {value:g}" for phase, value in CLUSTER_E_CT.items())
        _sign(figure, f"{compound} · exact cluster at E_CT {values} eV, chosen for J_ZZ; J 0.8 eV as -J S.S")
    return figure


def weights(*, ratios: tuple[float, float] = (0.3, 2.0)) -> Figure:
    """Plot the weight of the ground multiplet in the spin-1 and in the trimer model space against J_ZZ/J_H, and their crossing."""
    import matplotlib as mpl

    ratio = np.linspace(*ratios, 341)
    found = picture_weights(trilayer(), {"J_H": 1.0, "J_ZZ": ratio}, PICTURES["trilayer"])
    values = np.asarray(found["picture_weight"].values, dtype=float)
    difference = values[:, 0] - values[:, 1]
    crossings = np.flatnonzero(np.diff(np.sign(difference)))
    with mpl.rc_context(STYLE):
        figure, (axes,) = _figure()
        for column, name in enumerate(("three spin-1 (S$_{eff}$ = 1)", "trimer and three spin-½ (S$_{eff}$ = ½)")):
            axes.plot(ratio, values[:, column], color=COLORS[column], lw=1.4, label=name)
        for k in map(int, crossings):
            at = ratio[k] + (ratio[k + 1] - ratio[k]) * difference[k] / (difference[k] - difference[k + 1])
            axes.axvline(at, color="0.6", lw=0.8)
            axes.annotate(f"{at:.3f}", (at, values.min()), (3, 2), textcoords="offset points", fontsize=8, color="0.3")
        for at, name in ((0.36 / 0.63, "low P"), (0.66 / 0.57, "high P")):
            axes.axvline(at, color=COLORS[4], lw=0.8, ls=":")
            axes.annotate(name, (at, values.min()), (3, 2), textcoords="offset points", fontsize=7, color=COLORS[4])
        axes.set_xlabel("J$_{ZZ}$ / J$_H$")
        axes.set_ylabel("weight of the ground multiplet")
        axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.12))
        _sign(
            figure,
            "six-spin model with one J_H, exact, T = 0 · dotted: published ratios · a crossover, both are near 1",
        )
    return figure


def chain(records: Sequence[ModelRecord], compound: str = "La4Ni3O10", *, points: int = 41) -> Figure:
    """Plot couplings of the eV and the sub-eV scale against the hopping t_perp_pZ, for both values of E_CT.

    Parameters
    ----------
    records : sequence of ModelRecord
        Models with the Hartree scale of both phases.
    compound : str
        Name of the compound.
    points : int
        Number of points along the hopping.
    """
    import matplotlib as mpl

    ends = {phase: find_record(records, compound, "trilayer", "Hartree", phase) for phase in CLUSTER_E_CT}
    hopping = {phase: record.value("t_perp_pZ") for phase, record in ends.items()}
    along = np.linspace(0.85 * min(hopping.values()), 1.1 * max(hopping.values()), points)
    with mpl.rc_context(STYLE):
        figure, panels = _figure(2, 3.6, 8.2)
        groups = (("J_H_outer", "J_H_middle", "J_ZZ"), ("J_ml", "J_lt", "J_mt"))
        for style, (phase, record) in zip(("--", "-"), ends.items(), strict=True):
            values: dict[str, Any] = {name: record.value(name) for name in ("U_d", "U_p", "J")}
            values |= {"E_CT": CLUSTER_E_CT[phase], "t_perp_pZ": along}
            found = hopping_to_spins(values, convention="spin", e_ct_reference="high-spin d8")
            for axes, names in zip(panels, groups, strict=True):
                for color, name in zip(COLORS, names, strict=False):
                    axes.plot(along, np.asarray(found[name].values), style, color=color, lw=1.1)
        styles = [
            (style, f"E_CT {value:g} eV") for style, value in zip(("--", "-"), CLUSTER_E_CT.values(), strict=True)
        ]
        for axes, title, names in zip(panels, ("eV scale", "sub-eV scale"), groups, strict=True):
            for phase, t in hopping.items():
                axes.axvline(t, color="0.7", lw=0.8)
                axes.text(
                    t + 0.01, 0.99, phase, transform=axes.get_xaxis_transform(), va="top", fontsize=6, color="0.4"
                )
            axes.axhline(0, color="0.8", lw=0.6)
            axes.set_xlabel("t$_⊥^{pZ}$ (eV)")
            axes.set_ylabel("coupling (eV)")
            axes.set_title(title, fontsize=9)
            _legend(axes, names, styles)
        _sign(
            figure,
            f"{compound} · exact Ni-O-Ni-O-Ni cluster, then J_H and J_ZZ alone · U_d, U_p, J as published, J as -J S.S",
        )
    return figure


def sensitivity(found: xr.Dataset) -> Figure:
    """Plot the margin of each statement against each parameter of the box, and the share of the box where it holds.

    Parameters
    ----------
    found : Dataset
        From `ModelSelection.sensitivity`: models of one stack.

    Raises
    ------
    CallError
        If no parameter of the box was varied.
    """
    import json

    import matplotlib as mpl

    edges = [str(name) for name in found.data_vars if str(name).startswith("box_")]
    varied = [name for name in edges if np.ptp(found[name].values, axis=1).max() > 0]
    if not varied:
        raise CallError("no parameter of the box is a range; write box.U_d=4:8.")
    statements = [str(text) for text in found["statement"].values]
    step = json.loads(found.attrs["provenance"])["steps"][0]
    with mpl.rc_context(STYLE):
        from matplotlib.figure import Figure

        size = (1.4 + 2.1 * len(varied), 0.9 + 1.9 * len(statements))
        figure = Figure(figsize=size)
        panels = figure.subplots(len(statements), len(varied), squeeze=False, sharex="col", sharey="row")
        for row, text in zip(panels, statements, strict=True):
            for axes, name in zip(row, varied, strict=True):
                axes.axhline(0, color="0.5", lw=0.8)
                for k, model in enumerate(found["model"].values):
                    one = found.isel(model=k).sel(statement=text)
                    label = f"{model}: {float(one['share']):.3f} ± {float(one['share_sigma']):.3f}"
                    axes.plot(
                        one[name].values, one["margin"].values, ".", ms=2.5, color=COLORS[k % len(COLORS)], label=label
                    )
            row[0].set_title(text, fontsize=8, loc="left")
            row[0].set_ylabel(f"left less right ({_unit(found, text)})")
            row[-1].legend(
                fontsize=6,
                title="share of the box",
                title_fontsize=6,
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
                markerscale=3,
            )
        for axes, name in zip(panels[-1], varied, strict=True):
            axes.set_xlabel(f"{name.removeprefix('box_')} (eV)")
        text = f"{step['of']} over {found.sizes['point']} points of a box · above the line a statement holds"
        _sign(figure, text)
    return figure


def _unit(found: xr.Dataset, text: str) -> str:
    units = dict(part.rsplit(": ", 1) for part in str(found["margin"].attrs["units"]).split(", ") if ": " in part)
    return units.get(text, str(found["margin"].attrs["units"]))
