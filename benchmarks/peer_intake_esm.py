"""Queries of `peers` for intake-esm, on a data store with a CSV table; runs in the environment of intake-esm.

Usage: peer_intake_esm.py ROWS.jsonl FOLDER. Prints one JSON object. It imports nothing of barospec.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import intake_esm
import pandas as pd

REPEAT = 5


def main() -> None:
    """Build the store, run the queries, print the results."""
    warnings.simplefilter("ignore")
    source = Path(sys.argv[1])
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    start = time.perf_counter()
    frame = pd.DataFrame(rows)
    description = {
        "esmcat_version": "0.1.0",
        "id": "rows",
        "description": "",
        "attributes": [{"column_name": name} for name in frame.columns],
        "assets": {"column_name": "source_file", "format": "netcdf"},
    }
    store = intake_esm.esm_datastore({"esmcat": description, "df": frame})
    built = time.perf_counter() - start
    questions = {
        "equal": lambda: len(
            store.search(technique="xas", material="NiO", run=["run-2", "run-3", "run-150"]).df.to_dict("records")
        ),
        "range": lambda: len(store.search(edge="Ni K", pressure="> 10", temperature="< 80").df),
    }
    answers: dict[str, dict] = {}
    for name, ask in questions.items():
        count, taken = ask(), []
        for _ in range(REPEAT):
            start = time.perf_counter()
            ask()
            taken.append(time.perf_counter() - start)
        answers[name] = {"count": count, "s": statistics.median(taken)}
    # A range given as text is compared as a value: the answer is empty, without an error.
    silent = answers["range"]["count"] == 0
    answers["range"] = {"cannot": "no ranges; “> 10” finds nothing, without an error" if silent else "no ranges"}
    answers["runs"] = answers["count"] = {"cannot": "no ranges"}
    answers["missing"] = {"cannot": "no test for missing values"}
    print(json.dumps({"version": version("intake-esm"), "build_s": built, "answers": answers}))


if __name__ == "__main__":
    main()
