"""What every operator keeps: declaration, padding, order, bad rows, inputs untouched; and how chains run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pickle
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barospec.archive.operators.chain import execute
from barospec.archive.operators.operator import OUTPUT_UNITS, Operator
from barospec.archive.operators.registry import OPERATORS, find_operator
from barospec.schemas.errors import CallError, Conflict, NotFound, QueryError
from barospec.schemas.units import find_unit

EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=list(OPERATORS))
ROWS, POINTS = 12, 320


def spectra(rows: int = ROWS, points: int = POINTS, seed: int = 5) -> dict[str, np.ndarray]:
    """Absorption edges and emission lines on grids of their own, with noise: whatever operators ask for."""
    random = np.random.default_rng(seed)
    edge = 8345.0 + random.uniform(-2.0, 2.0, (rows, 1))
    energy = edge + np.sort(random.uniform(-180.0, 420.0, (rows, points)), axis=1)
    dense = slice(points // 8, 7 * points // 8)
    energy[:, dense] = edge + np.linspace(-30.0, 85.0, dense.stop - dense.start)
    energy.sort(axis=1)
    x = energy - edge
    mu = 0.2 - 3e-4 * x + 0.8 * (0.5 + np.arctan(x / 1.5) / np.pi + 0.4 / (1 + ((x - 3) / 3) ** 2))
    mu += 0.06 / (1 + ((x + 14) / 1.2) ** 2)
    line = 1.0 / (1 + (x / 3) ** 2) + 0.2 / (1 + ((x + 12) / 4) ** 2) + 0.01
    line += 0.05 * np.exp(-(((x - 63) / 4) ** 2))
    noise = random.normal(0.0, 1e-3, (2, rows, points))
    foil = np.exp(-0.3 - 0.8 * (0.5 + np.arctan((x + 12) / 2) / np.pi))
    return {
        "energy": energy,
        "mu": mu + noise[0],
        "intensity": line + noise[1],
        "itrans": np.full(foil.shape, 1e5),
        "irefer": 1e5 * foil,
    }


RAW = {
    "xas": ("energy", "mu", "itrans", "irefer"),
    "xes": ("energy", "intensity"),
    "": ("energy", "mu", "intensity"),
}
XES_OFFSET = 8264.8 - 8345.0
"""The lines of the emission spectra lie where the examples of the operators look for them."""


def raw_of(operator: Operator, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {name: arrays[name] for name in RAW[operator.technique]}
    if operator.technique == "xes":
        given["energy"] = given["energy"] + XES_OFFSET
    return given


def references() -> list[execute.Reference]:
    """Two references that differ from all spectra and from each other."""
    found = []
    for number, label in enumerate(("2", "3")):
        arrays = spectra(1, POINTS, seed=70 + number)
        x = arrays["energy"] - 8345.0
        arrays["mu"] = arrays["mu"] + 0.04 * (number + 1) * np.exp(-(((x - 13) / 3) ** 2))
        more = 0.1 * (1 - number) / (1 + ((x + 12) / 4) ** 2)
        arrays["intensity"] = arrays["intensity"] + more
        arrays["energy"] = arrays["energy"] + 4.0 * (2 * number - 1)
        found.append(execute.Reference({name: arrays[name] for name in ("energy", "mu", "itrans", "irefer")}, label))
        found.append(
            execute.Reference({"energy": arrays["energy"] + XES_OFFSET, "intensity": arrays["intensity"]}, label)
        )
    return found


def named_references(operators: Iterable[Operator]) -> dict[str, list[execute.Reference]]:
    everything = references()
    found = {}
    for operator in operators:
        if operator.references is not None:
            mine = everything[1::2] if operator.technique == "xes" else everything[::2]
            found[operator.name] = mine if operator.references.several else mine[:1]
    return found


def ready_plan(operator: Operator, arrays: Iterable[str]) -> execute.Plan:
    """A chain that ends in the operator, with its example's parameters and references."""
    plan = execute.prepare([(operator.name, dict(operator.example))], list(arrays))
    for step in plan.operators:
        if step is not operator:
            plan.parameters[step.name].update(step.example)
    return execute.bind(plan, named_references(plan.operators))


def inputs_of(operator: Operator, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Positional inputs of an operator: given, or made by the operators that run before it."""
    values: dict[str, Any] = raw_of(operator, arrays)
    plan = ready_plan(operator, values)
    for step in plan.operators[:-1]:
        execute.run_step(plan, step, values)
    return tuple(values[name] for name in operator.inputs)


@lru_cache
def keywords_of(operator: str) -> dict[str, Any]:
    """The example's parameters and the arrays of the references."""
    record = OPERATORS[operator]
    plan = ready_plan(record, raw_of(record, spectra(1)))
    return {**record.example, **plan.references.get(operator, {})}


def call(operator: Operator, *inputs: np.ndarray) -> dict[str, Any]:
    out: dict[str, Any] = operator.func(*inputs, **keywords_of(operator.name))
    return out


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Equal to the last bit, NaN equal to NaN."""
    return list(left) == list(right) and all(
        np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f") for name in left
    )


@EVERY
def test_declaration_is_complete(operator: Operator) -> None:
    assert OPERATORS[operator.name] is operator
    assert operator.version >= 1
    assert operator.summary.endswith(".")
    assert operator.source
    assert operator.technique in ("", "xas", "xes")
    assert operator.reasons[0] == "ok"
    assert len(operator.reasons) == len(set(operator.reasons)) <= 256
    # As CF's flag_meanings has them: words of few characters, separated by blanks.
    assert len(set(operator.words)) == len(operator.reasons)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+@-]+", word) for word in operator.words)
    assert not any("\n" in reason for reason in operator.reasons)
    assert operator.quality in operator.outputs
    assert set(operator.parameters) == set(operator.defaults)
    assert set(operator.example) <= set(operator.parameters)
    assert set(operator.replaces.values()) <= set(operator.outputs)
    assert set(operator.replaces) <= set(operator.inputs)
    if operator.references is not None:
        keywords = inspect.signature(operator.func).parameters
        assert set(operator.references.arrays) <= set(keywords)
        assert not operator.references.labels or operator.references.labels in keywords
    for name, output in operator.outputs.items():
        known = find_unit(output.unit) is not None or output.unit in OUTPUT_UNITS
        assert known, f"{name} has the unnamed unit {output.unit}"
        assert output.meaning


@EVERY
def test_documentation_has_definition_source_and_running_example(operator: Operator) -> None:
    text = operator.func.__doc__ or ""
    for heading in ("Parameters\n", "Returns\n", "Raises\n", "References\n", "Examples\n"):
        assert heading in text, f"{operator.name} lacks {heading.strip()}"
    module = sys.modules[operator.func.__module__]
    tests = [test for test in doctest.DocTestFinder().find(module) if test.name.endswith(f".{operator.func.__name__}")]
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).attempted > 0
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("module", ["chain.execute", "chain.parse", "chain.plan", "registry"])
def test_examples_of_the_engine_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"barospec.archive.operators.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


@EVERY
def test_outputs_have_the_declared_names_shapes_and_types(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    out = call(operator, *inputs)
    assert list(out) == list(operator.outputs)
    for name, output in operator.outputs.items():
        tail = (POINTS,) if output.per_point else (2,) if output.per_reference else ()
        assert out[name].shape == (ROWS, *tail), name
        assert out[name].dtype == execute.output_dtype(name, output), name
    assert (out[operator.quality] == 0).all()
    assert np.isfinite(out[next(iter(out))]).all()


@EVERY
def test_one_spectrum_batches_and_stacks_agree_to_the_bit(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    whole = call(operator, *inputs)
    for row in range(ROWS):
        assert same(call(operator, *(array[row] for array in inputs)), {k: v[row] for k, v in whole.items()})
    stacked = call(operator, *(array.reshape(3, 4, *array.shape[1:]) for array in inputs))
    assert same({k: v.reshape(whole[k].shape) for k, v in stacked.items()}, whole)
    order = np.random.default_rng(0).permutation(ROWS)
    assert same(call(operator, *(array[order] for array in inputs)), {k: v[order] for k, v in whole.items()})


@EVERY
@pytest.mark.parametrize("more", [1, 7, 300])
def test_padding_changes_no_bit(operator: Operator, more: int) -> None:
    inputs = inputs_of(operator, spectra())
    plain = call(operator, *inputs)
    padded = call(
        operator,
        *(np.pad(a, ((0, 0), (0, more)), constant_values=np.nan) if a.ndim == 2 else a for a in inputs),
    )
    for name, output in operator.outputs.items():
        if output.per_point:
            assert np.isnan(padded[name][:, POINTS:]).all()
            padded[name] = padded[name][:, :POINTS]
    assert same(padded, plain)


@EVERY
def test_order_of_points_and_holes_do_not_matter(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    random = np.random.default_rng(1)
    order = np.argsort(random.random((ROWS, POINTS)), axis=1)
    shuffled = call(operator, *(np.take_along_axis(a, order, axis=1) if a.ndim == 2 else a for a in inputs))
    plain = call(operator, *inputs)
    for name, output in operator.outputs.items():
        expected = np.take_along_axis(plain[name], order, axis=1) if output.per_point else plain[name]
        assert np.array_equal(shuffled[name], expected, equal_nan=True), name
    # A point without a value is as good as a point that was never measured.
    hole = random.choice(POINTS, 9, replace=False)
    pierced = [array.copy() for array in inputs]
    for array in pierced[1:]:
        if array.ndim == 2:
            array[:, hole] = np.nan
    without = call(operator, *(np.delete(a, hole, axis=1) if a.ndim == 2 else a for a in inputs))
    for name, values in call(operator, *pierced).items():
        if operator.outputs[name].per_point:
            assert np.isnan(values[:, hole]).all()
            values = np.delete(values, hole, axis=1)
        assert np.array_equal(values, without[name], equal_nan=True), name


BAD_ROWS = {
    "nothing": lambda energy, signal: (energy * np.nan, signal * np.nan),
    "infinite": lambda energy, signal: (energy, signal * np.inf),
    "one point": lambda energy, signal: (energy, np.where(np.arange(len(signal)) == 3, signal, np.nan)),
    "one energy": lambda energy, signal: (energy * 0 + 8345.0, signal),
    "flat": lambda energy, signal: (energy, signal * 0 + 1.0),
    "zero": lambda energy, signal: (energy, signal * 0),
    "upside down": lambda energy, signal: (energy, -signal),
    "huge": lambda energy, signal: (energy, signal * 1e300),
}


@EVERY
@pytest.mark.parametrize("bad", list(BAD_ROWS))
def test_a_bad_row_gets_a_reason_and_leaves_the_others_alone(operator: Operator, bad: str) -> None:
    arrays = spectra()
    good = call(operator, *inputs_of(operator, arrays))
    signal = "intensity" if operator.technique == "xes" else "mu"
    arrays["energy"][4], arrays[signal][4] = BAD_ROWS[bad](arrays["energy"][4], arrays[signal][4])
    out = call(operator, *inputs_of(operator, arrays))
    others = np.arange(ROWS) != 4
    assert same({k: v[others] for k, v in out.items()}, {k: v[others] for k, v in good.items()})
    main = np.atleast_1d(out[next(iter(out))][4])
    code = int(out[operator.quality][4])
    assert code < len(operator.reasons)
    if code == 0:
        assert np.isfinite(main).all()
    if np.isnan(main).all():
        assert operator.reasons[code] != "ok"


@EVERY
def test_inputs_are_not_modified_and_may_be_read_only(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    if inputs[0].ndim == 2:
        inputs[0][2, 10] = inputs[0][2, 9]
        inputs[1][3, 40] = np.nan
    before = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False
    call(operator, *inputs)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@EVERY
def test_an_empty_batch_gives_empty_results(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    out = call(operator, *(array[:0] for array in inputs))
    for name, output in operator.outputs.items():
        tail = (POINTS,) if output.per_point else (2,) if output.per_reference else ()
        assert out[name].shape == (0, *tail)


@EVERY
def test_shapes_that_do_not_fit_are_refused(operator: Operator) -> None:
    inputs = inputs_of(operator, spectra())
    if inputs[0].ndim == 2:
        with pytest.raises(CallError, match="shape"):
            call(operator, inputs[0][:, :-1], *inputs[1:])
    with pytest.raises(CallError, match="shape"):
        call(operator, inputs[0][:5], *inputs[1:])


# Chains


def test_plan_runs_first_what_others_need() -> None:
    assert [o.name for o in execute.plan(["edge_energy"], ["energy", "mu"])] == ["normalize", "edge_energy"]
    assert [o.name for o in execute.plan(["edge_energy", "normalize"], ["mu", "energy"])] == [
        "normalize",
        "edge_energy",
    ]
    at_hand = ["energy", "norm", "e0", "pre1", "pre2", "norm1", "norm2", "nnorm", "nvict"]
    assert [o.name for o in execute.plan(["edge_energy"], at_hand)] == ["edge_energy"]


def test_plan_says_what_is_missing_unknown_or_made_twice() -> None:
    with pytest.raises(NotFound, match=r'no operator "edge_enrgy".*edge_energy'):
        execute.plan(["edge_enrgy"], ["energy", "mu"])
    with pytest.raises(NotFound, match='normalize needs "mu"'):
        execute.plan(["edge_energy"], ["energy", "intensity"])
    with pytest.raises(Conflict, match='would make "e0", but the data have it already'):
        execute.plan(["normalize"], ["energy", "mu", "e0"])
    with pytest.raises(Conflict, match="twice"):
        execute.prepare("normalize | normalize", ["energy", "mu"])
    with pytest.raises(CallError, match="empty"):
        execute.plan([], ["energy", "mu"])
    with pytest.raises(NotFound, match=r"There are .*normalize"):
        find_operator("zzz")


def test_parameters_find_their_operator() -> None:
    ready = execute.prepare("edge_energy(fraction=0.5)", ["energy", "mu"], {"pre1": -150, "edge_energy.far": 4})
    assert ready.parameters["edge_energy"] == {"fraction": 0.5, "far": 4, "ensemble": 32}
    assert ready.parameters["normalize"]["pre1"] == -150
    assert ready.inputs == ("energy", "mu")
    assert next(iter(ready.outputs)) == "edge_energy"
    assert ready.outputs["norm"].per_point


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("edge_energy", {"fracton": 0.5}, "Did you mean fraction"),
        ("edge_energy", {"edge_enery.fraction": 0.5}, "Did you mean edge_energy"),
        ("normalize", {"fraction": 0.5}, 'no operator of this chain .normalize. has a parameter "fraction"'),
        ("edge_energy(fraction=0.5)", {"fraction": 0.8}, "given twice"),
        ("normalize(fraction=0.5) | edge_energy", {}, "no operator of this chain"),
    ],
)
def test_wrong_parameters_are_refused_with_the_nearest(text: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CallError, match=message):
        execute.prepare(text, ["energy", "mu"], parameters)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 0),
        ("normalize |", 11),
        ("| normalize", 0),
        ("normalize edge_energy", 10),
        ("normalize(", 10),
        ("normalize(pre1)", 14),
        ("normalize(pre1=)", 15),
        ("normalize(pre1=-150", 19),
        ("normalize(pre1=-150 pre2=-50)", 20),
        ("normalize(pre1=1, pre1=2)", 18),
        ("normalize(pre1=1.2.3)", 15),
        ("normalize; drop", 9),
        ('normalize(pre1="x)', 15),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, place: int) -> None:
    with pytest.raises(QueryError) as caught:
        execute.parse_chain(text)
    assert caught.value.start == place


words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda word: word not in ("none", "true", "false", "yes", "no")
)
values = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), words)


@given(st.lists(st.tuples(words, st.dictionaries(words, values, max_size=3)), min_size=1, max_size=4))
def test_a_chain_is_read_as_it_was_written(steps: list[tuple[str, dict[str, Any]]]) -> None:
    text = " | ".join(
        name + (f"({', '.join(f'{k}={v}' for k, v in parameters.items())})" if parameters else "")
        for name, parameters in steps
    )
    assert execute.parse_chain(text) == steps


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_politely(text: str) -> None:
    try:
        execute.parse_chain(text)
    except QueryError as error:
        assert str(error)  # noqa: PT017


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {name: spectra()[name] for name in ("energy", "mu")}
    whole = execute.run_chain("edge_energy", arrays)
    monkeypatch.setattr(execute, "POINTS_PER_BLOCK", 5 * POINTS)
    assert same(execute.run_chain("edge_energy", arrays), whole)
    cube = {name: array.reshape(2, 6, POINTS) for name, array in arrays.items()}
    assert execute.run_chain("edge_energy", cube)["norm"].shape == (2, 6, POINTS)


def test_a_shared_energy_axis_and_wanted_outputs() -> None:
    arrays = spectra()
    shared = execute.run_chain("normalize", {"energy": arrays["energy"][0], "mu": arrays["mu"]}, wanted=["e0", "norm"])
    assert list(shared) == ["norm", "e0"]
    full = np.broadcast_to(arrays["energy"][0], arrays["mu"].shape)
    own = execute.run_chain("normalize", {"energy": full, "mu": arrays["mu"]}, wanted=["e0", "norm"])
    assert same(shared, own)
    with pytest.raises(NotFound, match="Did you mean norm"):
        execute.run_chain("normalize", {"energy": full, "mu": arrays["mu"]}, wanted=["nrm"])


def test_running_without_the_arrays_is_refused() -> None:
    ready = execute.prepare("normalize", ["energy", "mu"])
    with pytest.raises(CallError, match="needs mu"):
        execute.run(ready, {"energy": np.arange(20.0)})
    with pytest.raises(CallError, match="do not fit together"):
        execute.run(ready, {"energy": np.ones((2, 20)), "mu": np.ones((3, 20))})
    with pytest.raises(CallError, match="last axis"):
        execute.run(ready, {"energy": np.ones(21), "mu": np.ones((3, 20))})


def test_a_plan_travels_to_other_processes() -> None:
    arrays = {name: spectra()[name] for name in ("energy", "mu")}
    ready = execute.prepare("edge_energy(fraction=0.5)", arrays)
    again = pickle.loads(pickle.dumps(ready))
    assert same(execute.run(again, arrays), execute.run(ready, arrays))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), more=st.integers(0, 60), rows=st.integers(1, 9), points=st.integers(40, 400))
def test_neighbors_and_padding_never_show(seed: int, more: int, rows: int, points: int) -> None:
    arrays = {name: array for name, array in spectra(rows, points, seed).items() if name != "intensity"}
    random = np.random.default_rng(seed)
    for row in range(rows):
        # Spectra of different lengths stand in one block.
        arrays["mu"][row, random.integers(points // 2, points + 1) :] = np.nan
    padded = {k: np.pad(v, ((0, 0), (0, more)), constant_values=np.nan) for k, v in arrays.items()}
    whole = execute.run_chain("edge_energy", padded)
    for row in range(rows):
        count = int(np.isfinite(arrays["mu"][row]).sum())
        alone = execute.run_chain("edge_energy", {k: v[row, :count] for k, v in arrays.items()})
        for name, values in alone.items():
            mine = whole[name][row][:count] if values.ndim else whole[name][row]
            assert np.array_equal(mine, values, equal_nan=True), name
