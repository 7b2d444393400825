"""Queries of `peers` for Tiled, on a SQLite catalog with an in-process client; runs in the environment of Tiled.

Usage: peer_tiled.py ROWS.jsonl FOLDER. Prints one JSON object. It imports nothing of barospec.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.queries import In, Key, KeyPresent
from tiled.server.app import build_app

REPEAT = 5


def fill(database: Path, rows: list[dict]) -> None:
    """Write copies of the existing node directly into the table of the catalog: over HTTP each takes 20 ms."""
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    template = dict(connection.execute("SELECT * FROM nodes WHERE key = 'template'").fetchone())
    del template["id"]
    names = list(template)
    marks = ", ".join("?" * len(names))
    records = []
    for row in rows:
        node = template | {
            "key": row["spectrum_id"],
            "metadata": json.dumps({k: v for k, v in row.items() if v is not None}),
        }
        records.append([node[name] for name in names])
    quoted = ", ".join(f'"{name}"' for name in names)
    connection.executemany(f"INSERT INTO nodes ({quoted}) VALUES ({marks})", records)
    connection.execute("DELETE FROM nodes WHERE key = 'template'")
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def main() -> None:
    """Build the store, run the queries, print the results."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    database = folder / "catalog.db"
    tree = from_uri(f"sqlite:///{database}", writable_storage=str(folder / "data"), init_if_not_exists=True)
    with Context.from_app(build_app(tree)) as context:
        client = from_context(context)
        client.create_container("template", metadata={"a": 1})
        start = time.perf_counter()
        fill(database, rows)
        built = time.perf_counter() - start

        def found(*queries: object) -> int:
            results = client
            for query in queries:
                results = results.search(query)
            # The metadata of the results, as in the rows of barospec.
            return sum(1 for node in results.values() if node.metadata["spectrum_id"])

        def runs() -> int:
            return len(client.search(Key("pressure") > 39.9).distinct("run", counts=True)["metadata"]["run"])

        questions = {
            "range": lambda: found(
                Key("edge") == "Ni K", Key("pressure") >= 10, Key("pressure") <= 10.01, Key("temperature") < 80
            ),
            "equal": lambda: found(
                Key("technique") == "xas", Key("material") == "NiO", In("run", ["run-2", "run-3", "run-150"])
            ),
            "runs": runs,
            "missing": lambda: len(client.search(KeyPresent("pressure", exists=False))),
            "count": lambda: len(client.search(Key("pressure") > 14)),
        }
        answers = {}
        for name, ask in questions.items():
            try:
                count, taken = ask(), []
                for _ in range(REPEAT):
                    start = time.perf_counter()
                    ask()
                    taken.append(time.perf_counter() - start)
                answers[name] = {"count": count, "s": statistics.median(taken)}
            except Exception as error:  # an unsupported query is a result too
                answers[name] = {"cannot": f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"}
    print(json.dumps({"version": version("tiled"), "build_s": built, "answers": answers}))


if __name__ == "__main__":
    main()
