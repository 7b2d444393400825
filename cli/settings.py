"""``barospec settings``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from barospec.cli._options import ArchiveOption, AtOption, JsonOption, open_archive
from barospec.cli._output import note, table, write_object

NAME = "settings"


def command(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help='New values, such as title="Nickelates at high pressure" license=CC-BY-4.0; NAME= restores the default. Without them, the settings are shown.',
            show_default=False,
        ),
    ] = None,
    archive: ArchiveOption = None,
    at: AtOption = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="Read settings from a YAML file.", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Reason, recorded in the history.", show_default=False)] = "",
    history: Annotated[bool, typer.Option("--history", help="List every change with author and time.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show or change the description of the archive.

    The settings are title, creators, license, funding, keywords, contact and privacy. Changes are versioned: --at TAG shows the settings of that state. Write creators in YAML: --from FILE, or creators='[{name: Ada Lovelace, orcid: 0000-0002-1825-0097, affiliation:
    ESRF, ror: 02550n020}]'. ORCID and ROR are checked by their check digits, the license against the SPDX list. Private
    fields are excluded from bundles.
    """
    from barospec.archive.store.settings import MEANING

    opened = open_archive(archive, at)
    wanted = {**(_file(from_file) if from_file else {}), **dict(map(_pair, changes or []))}
    if wanted:
        before = opened.snapshot
        opened.configure(wanted, reason=reason)
        note(
            "Settings changed."
            if opened.snapshot != before
            else "The settings have these values already. Nothing was changed."
        )
    if history:
        columns = ["time", "author", "name", "value", "reason", "revision"]
        rows = [[record[name] for name in columns] for record in opened.settings_history()]
    else:
        columns = ["name", "value", "meaning"]
        rows = [[name, value, MEANING[name]] for name, value in opened.settings().items()]
    if as_json:
        head = {"snapshot": opened.snapshot, "count": len(rows), "missing": {}, "units": {}, "pending": opened.pending}
        write_object(head, columns, rows)
    elif history:
        table(columns, [[f"{row[0]:%Y-%m-%d %H:%M} UTC", *row[1:3], _shown(row[3]), *row[4:]] for row in rows])
    else:
        for name, value, meaning in rows:
            print(f"{name:<12} {_shown(value)}\n{'':12} {meaning}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_shown(item) for item in value) or "–"
    if isinstance(value, dict):
        return ", ".join(str(item) for item in value.values())
    return "–" if value in (None, "") else str(value)


def _pair(text: str) -> tuple[str, Any]:
    import yaml

    from barospec.schemas.errors import CallError

    name, equals, value = text.partition("=")
    if not equals:
        raise CallError(f'"{text}" has no "=". Write NAME=VALUE, such as license=CC-BY-4.0.')
    if value.lstrip()[:1] in ("[", "{"):
        try:
            return name, yaml.safe_load(value)
        except (yaml.YAMLError, RecursionError) as error:
            raise CallError(f"{name}: {' '.join(str(error).split())[:200]}") from None
    return name, value


def _file(path: Path) -> dict[str, Any]:
    import yaml

    from barospec.schemas.errors import InvalidData, NotFound

    try:
        with path.open("rb") as file:
            found = yaml.safe_load(file.read(1_000_000))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}.") from None
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidData(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, dict):
        raise InvalidData(f"{path} should be a mapping of settings, such as\n  title: Nickelates\n  license: CC-BY-4.0")
    return {str(name): value for name, value in found.items()}
