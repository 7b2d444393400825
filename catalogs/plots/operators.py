"""Figures of the operators: made-up curves, the operator run on them, and its numbers at their positions.

The numbers in a figure are the operator's own, for the parameters of its example; nothing is drawn by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from barospec.archive.operators.chain import execute
from barospec.archive.operators.registry import find_operator
from barospec.catalogs.plots.example_curves import absorption, emission
from barospec.catalogs.plots.spectra import COLORS, STYLE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Shown:
    """Content of a figure: axes, arrays of spectrum and references, and parameters."""

    axes: Any
    values: dict[str, Any]
    others: list[dict[str, Any]]
    parameters: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float:
        return float(np.ravel(self.values[name])[0])

    def curve(
        self, name: str, *, color: int = 0, label: str = "", of: dict[str, Any] | None = None, **how: Any
    ) -> None:
        """Draw a curve with a value per point."""
        values = self.values if of is None else of
        self.axes.plot(
            np.ravel(values["energy"]), np.ravel(values[name]), color=COLORS[color], lw=1.2, label=label or name, **how
        )

    def references(self, name: str) -> None:
        """Draw the same curve of the references, dashed."""
        for place, other in enumerate(self.others):
            label = "reference" if len(self.others) == 1 else f"reference {place + 1}"
            self.curve(name, color=2 + place, label=label, of=other, ls="--")

    def at(self, name: str, *, color: int = 1) -> None:
        """Draw a position in eV."""
        value = self.number(name)
        self.axes.axvline(value, color=COLORS[color], lw=1, label=f"{name} = {value:.2f} eV{self.spread(name)}")

    def spread(self, name: str) -> str:
        sigma = f"{name}_sigma"
        found = self.number(sigma) if sigma in self.values and np.size(self.values[sigma]) == 1 else np.nan
        return f" ± {found:.2g}" if np.isfinite(found) else ""

    def listed(self, *names: str) -> None:
        """List numbers without a position in the figure in its legend."""
        for name in names:
            value = np.ravel(self.values[name])
            text = ", ".join(f"{one:.4g}" for one in value)
            self.axes.plot([], [], " ", label=f"{name} = {text}{self.spread(name)}")

    def window(self, low: float, high: float, *, color: int = 4, label: str = "") -> None:
        self.axes.axvspan(low, high, color=COLORS[color], alpha=0.15, lw=0, label=label or None)

    def view(self, low: float, high: float) -> None:
        self.axes.set_xlim(low, high)
        inside = [
            y[(x >= low) & (x <= high) & np.isfinite(y)]
            for line in self.axes.get_lines()
            for x, y in [np.broadcast_arrays(*map(np.asarray, line.get_data()))]
            if line.get_data()[0] is not None and np.size(line.get_data()[0]) > 2
        ]
        points = np.concatenate([one for one in inside if one.size] or [np.array([0.0, 1.0])])
        margin = 0.08 * float(np.ptp(points)) or 1.0
        self.axes.set_ylim(points.min() - margin, points.max() + margin)


def _normalize(s: Shown) -> None:
    for color, name in enumerate(("mu", "pre_edge", "post_edge")):
        s.curve(name, color=color)
    e0 = s.number("e0")
    s.window(e0 + s.number("pre1"), e0 + s.number("pre2"), label="windows of the fits")
    s.window(e0 + s.number("norm1"), e0 + s.number("norm2"))
    s.at("e0", color=3)
    s.listed("edge_step")


def _edge_energy(s: Shown) -> None:
    s.curve("norm")
    s.axes.axhline(
        s.parameters["fraction"], color="0.6", lw=0.8, ls=":", label=f"fraction {s.parameters['fraction']:g}"
    )
    s.at("edge_energy")
    s.listed("edge_energy_sigma_norm")
    s.view(8325, 8375)


def _edge_shift(s: Shown) -> None:
    s.curve("mu", label="spectrum")
    s.references("mu")
    s.listed("edge_shift")
    s.view(8325, 8375)


def _shifted(*listed: str, window: bool = True) -> Callable[[Shown], None]:
    def draw(s: Shown) -> None:
        s.curve("norm", label="spectrum")
        s.references("norm")
        if window:
            s.window(s.parameters["low"], s.parameters["high"], label="window")
        s.listed(*listed)
        s.view(8320, 8385)

    return draw


def _find_e0(s: Shown) -> None:
    s.curve("norm")
    for color, name in enumerate(("e0_derivative", "e0_parabola", "e0_fraction", "e0_integral", "e0_white_line")):
        s.at(name, color=color + 1)
    s.view(8335, 8360)


def _derivative_features(s: Shown) -> None:
    plan = execute.prepare("derivative", ["energy", "norm"])
    slope = execute.run(plan, {name: s.values[name] for name in ("energy", "norm")})
    s.curve("dnorm", of={"energy": s.values["energy"], "dnorm": slope["dnorm"]}, label="dnorm/dE (1/eV)")
    s.window(s.parameters["beta_low"], s.parameters["beta_high"], label="window of beta")
    s.at("beta_position")
    s.listed("beta_height")
    s.view(8325, 8365)


def _pre_edge_peak(s: Shown) -> None:
    s.curve("norm")
    ends = [s.parameters["anchor"] + s.parameters[name] for name in ("base1", "peak1", "peak2", "base2")]
    s.window(ends[0], ends[1], label="baseline fitted here")
    s.window(ends[2], ends[3])
    s.at("pre_edge_position")
    s.at("pre_edge_centroid", color=2)
    s.listed("pre_edge_height", "pre_edge_area")
    s.view(8304, 8341)


def _white_line(s: Shown) -> None:
    s.curve("norm")
    e0 = s.number("e0")
    s.window(e0 + s.parameters["low"], e0 + s.parameters["high"], label="window")
    s.at("white_line_position")
    s.listed("white_line_height", "white_line_area")
    s.view(8325, 8385)


def _feature(s: Shown) -> None:
    s.curve("norm")
    s.references("norm")
    here, half = s.parameters["position"], s.parameters["half"]
    s.window(here - half, here + half, label=f"{here:g} ± {half:g} eV, absolute")
    s.listed("feature_height", "feature_height_change")
    s.view(8348, 8372)


def _track_peak(s: Shown) -> None:
    s.curve("norm")
    s.window(s.parameters["low"], s.parameters["high"], label="window")
    s.at("peak_position")
    s.listed("peak_height")
    s.view(8330, 8372)


def _difference(s: Shown) -> None:
    s.curve("norm", label="spectrum")
    s.references("norm")
    s.curve("difference", color=1)
    s.listed("difference_rms", "difference_area")
    s.view(8315, 8385)


def _valence(s: Shown) -> None:
    known = [float(np.ravel(one["edge_energy"])[0]) for one in s.others]
    s.axes.plot(known, [2, 3], "--o", color=COLORS[2], label="references, known valence")
    s.axes.plot(s.number("edge_energy"), s.number("valence"), "s", color=COLORS[1], label="spectrum")
    s.listed("valence", "valence_sigma_norm")
    s.axes.set_ylabel("valence")


def _valence_vtc(s: Shown) -> None:
    known = [float(np.ravel(one["vtc_position"])[0]) for one in s.others]
    s.axes.plot(known, [2, 3], "--o", color=COLORS[2], label="references, known valence")
    s.axes.plot(s.number("vtc_position"), s.number("valence_vtc"), "s", color=COLORS[1], label="spectrum")
    s.listed("valence_vtc")
    s.axes.set_ylabel("valence")


def _align(s: Shown) -> None:
    s.curve("murefer", label="foil as measured")
    s.curve("murefer", color=1, of={**s.values, "energy": s.values["aligned_energy"]}, label="aligned", ls="--")
    s.axes.axvline(s.parameters["to"], color="0.5", lw=0.8, label=f"to = {s.parameters['to']:g} eV")
    s.listed("foil_e0", "align_shift")
    s.view(8320, 8350)


def _align_to(s: Shown) -> None:
    s.curve("mu", label="as measured")
    s.references("mu")
    s.curve("mu", color=1, of={**s.values, "energy": s.values["aligned_energy"]}, label="aligned", ls=":")
    s.window(s.parameters["low"], s.parameters["high"], label="window")
    s.listed("align_to_shift")
    s.view(8325, 8375)


def _deglitch(s: Shown) -> None:
    s.curve("mu", label="as measured")
    s.curve("deglitched_mu", color=1)
    s.listed("deglitched_points")
    s.view(8370, 8410)


def _foil(s: Shown) -> None:
    s.curve("murefer", label="murefer = ln(itrans/irefer)")
    s.view(8300, 8400)


def _derivative(s: Shown) -> None:
    s.curve("dnorm", label="dnorm/dE (1/eV)")
    s.view(8325, 8370)


def _background(s: Shown) -> None:
    s.curve("intensity")
    s.curve("net_intensity", color=1)
    s.axes.axhline(s.number("background_level"), color=COLORS[2], ls="--", label="background_level")
    s.axes.set_yscale("log")
    s.axes.set_ylim(100, None)


def _normalize_emission(s: Shown) -> None:
    s.curve("emission")
    energy, y, sigma = (np.ravel(s.values[name]) for name in ("energy", "emission", "emission_sigma"))
    s.axes.fill_between(
        energy, y - 3 * sigma, y + 3 * sigma, color=COLORS[0], alpha=0.3, lw=0, label="± 3 emission_sigma"
    )
    s.listed("emission_scale")
    s.view(8235, 8290)


def _emission(s: Shown) -> None:
    s.curve("emission", label="spectrum")
    s.references("emission")


def _kbeta13(s: Shown) -> None:
    _emission(s)
    s.at("kbeta13_position")
    s.view(8257, 8273)


def _kbeta_prime(s: Shown) -> None:
    _emission(s)
    top = float(np.ravel(s.values["energy"])[np.nanargmax(np.ravel(s.values["emission"]))])
    s.window(top - s.parameters["w2"], top - s.parameters["w1"], label="w1 to w2 below the main line")
    s.axes.axvline(top - s.parameters["distance"], color=COLORS[1], lw=1, label="height read here")
    s.listed("kbeta_prime_area", "kbeta_prime_height")
    s.view(8228, 8285)


def _first_moment(s: Shown) -> None:
    _emission(s)
    s.axes.axhline(s.parameters["level"], color="0.6", lw=0.8, ls=":", label=f"level {s.parameters['level']:g}")
    s.at("first_moment")
    s.view(8255, 8275)


def _compared(*listed: str) -> Callable[[Shown], None]:
    def draw(s: Shown) -> None:
        _emission(s)
        top = float(np.ravel(s.values["energy"])[np.nanargmax(np.ravel(s.values["emission"]))])
        s.window(top - s.parameters["below"], top + s.parameters["above"], label="window")
        s.listed(*listed)
        s.view(8230, 8285)

    return draw


def _valence_to_core(s: Shown) -> None:
    _emission(s)
    side = s.parameters["side"]
    s.window(s.parameters["low"] - side, s.parameters["low"], label="tail fitted here")
    s.window(s.parameters["high"], s.parameters["high"] + side)
    s.at("vtc_position")
    s.listed("vtc_height", "vtc_shift", "vtc_ratio")
    s.view(8308, 8345)


DRAWN: dict[str, Callable[[Shown], None]] = {
    "foil": _foil, "align": _align, "align_to": _align_to, "deglitch": _deglitch, "normalize": _normalize,
    "find_e0": _find_e0, "edge_energy": _edge_energy, "edge_shift": _edge_shift,
    "whole_edge_shift": _shifted("whole_edge_shift", "whole_edge_residual"), "derivative": _derivative,
    "derivative_features": _derivative_features, "pre_edge_peak": _pre_edge_peak, "white_line": _white_line,
    "feature": _feature, "track_peak": _track_peak, "difference": _difference,
    "lcf": _shifted("lcf_fraction", "lcf_r_factor"),
    "agreement": _shifted("agreement_shift", "agreement_scale", "agreement_residual"), "valence": _valence,
    "background": _background, "normalize_emission": _normalize_emission, "kbeta13_position": _kbeta13,
    "kbeta_prime": _kbeta_prime, "first_moment": _first_moment, "iad": _compared("iad_raw", "iad_floor", "iad", "iad_limit"),
    "spin_state": _compared("high_spin", "high_spin_limit"), "valence_to_core": _valence_to_core,
    "valence_vtc": _valence_vtc,
}  # fmt: skip


CLEARER: dict[str, dict[str, Any]] = {"background": {"below": 12.0}}
"""Parameters that fit the made-up curves better than those of the example."""


def draw(name: str) -> Figure:
    """Draw the figure of one operator.

    Raises
    ------
    NotFound
        If `name` is not an operator.

    Examples
    --------
    >>> len(draw("edge_energy").axes)
    1
    """
    import matplotlib as mpl

    operator = find_operator(name)
    raw, *others = (
        emission(valence, seed) if operator.technique == "xes" else absorption(valence, seed, glitch=name == "deglitch")
        for seed, valence in enumerate((2.5, 2.0, 3.0), 1)
    )
    # Without the operator's own output.
    for one in (raw, *others):
        for made in set(one) & set(operator.outputs):
            del one[made]
    plan = execute.prepare([(name, {**operator.example, **CLEARER.get(name, {})})], list(raw))
    for step in plan.operators[:-1]:
        plan.parameters[step.name].update(step.example)
    named = [execute.Reference(one, label) for one, label in zip(others, ("2", "3"), strict=True)]
    found = {
        step.name: named if step.references.several else named[:1]
        for step in plan.operators
        if step.references is not None
    }
    # A reference passes through the steps before an operator, as in apply.
    before = execute.run(execute.bind(plan, found), raw)
    used = found.get(name, [])
    shown: list[dict[str, Any]] = []
    for reference in used:
        values: dict[str, Any] = dict(reference.arrays)
        bound = execute.bind(plan, found)
        for step in plan.operators[:-1]:
            execute.run_step(bound, step, values)
        shown.append(values)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.4)
        axes.set_xlabel("energy (eV)")
        state = Shown(axes, {**raw, **before}, shown, plan.parameters[name])
        DRAWN[name](state)
        axes.legend(fontsize=7, loc="best")
        axes.set_title(name, loc="left", fontsize=9)
        figure.supxlabel("made-up curves", fontsize=6, color="0.4", x=0.99, ha="right")
    return figure
