"""``barospec`` command: register the verbs and turn errors into messages.

Each verb is a module of its own, which imports inside its functions.
"""

from __future__ import annotations

import errno
import os
import sys
from copy import copy
from typing import Annotated

import typer

from barospec.cli import (
    annotate,
    apply,
    catalog,
    check,
    demo,
    derive,
    diff,
    doctor,
    export,
    fields,
    gc,
    import_,
    index,
    ingest,
    init,
    log,
    merge,
    migrate,
    models,
    operators,
    plot,
    purge,
    query,
    rescale,
    restore,
    runs,
    saved,
    series,
    set,
    settings,
    share,
    sheet,
    show,
    tag,
    valences,
    verify,
    withdraw,
)
from barospec.cli._output import note
from barospec.schemas.errors import BarospecError, exhausted

app = typer.Typer(
    name="barospec",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An archive of high-pressure x-ray spectra and the models that explain them.\n\n"
    "Begin with `barospec demo`, or `barospec init` and `barospec ingest`; then query: "
    'barospec query "all runs above 14 GPa".',
)
app.info.context_settings = {**(app.info.context_settings or {}), "obj": app}  # `demo` runs other verbs
for module in (
    demo,
    init,
    ingest,
    check,
    sheet,
    merge,
    rescale,
    query,
    show,
    runs,
    fields,
    models,
    apply,
    derive,
    operators,
    plot,
    series,
    valences,
    catalog,
    share,
    import_,
    export,
    log,
    diff,
    tag,
    set,
    withdraw,
    restore,
    settings,
    verify,
    doctor,
    gc,
    purge,
    migrate,
):
    app.command(module.NAME)(module.command)
for verb, function in {**saved.COMMANDS, **annotate.COMMANDS}.items():
    app.command(verb)(function)
app.add_typer(index.app, name="index")


def _version(wanted: bool) -> None:
    if wanted:
        from barospec.schemas.version import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Archive high-pressure x-ray spectra and the models that explain them."""


def _called(words: list[str]) -> typer.Typer:
    """Return the application with only the verb that is called: building the options of all verbs takes 40 ms."""
    asked = [verb for verb in app.registered_commands if verb.name in words]
    if not asked:
        return app
    called = copy(app)
    called.registered_commands, called.registered_groups = asked, []
    return called


REFUSED = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    )
)


def run() -> None:
    """Run the command line; print errors on stderr, with traceback only if BAROSPEC_DEBUG is set."""
    try:
        try:
            _called(sys.argv[1:2])()
        finally:
            sys.stdout.flush()  # here and not at exit, where a closed pipe cannot be handled
    except BarospecError as error:
        if os.environ.get("BAROSPEC_DEBUG"):
            raise
        sentence = exhausted(error)
        note(f"barospec: {sentence or error}")
        sys.exit(1 if sentence else error.exit_code)
    except BrokenPipeError:
        # The reader of the output, such as head, is closed; python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except BaseException as error:
        # A panic inside icechunk is not an Exception. Ctrl-C and typer.Exit are not either; they pass through.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
            note("Aborted!")  # DuckDB reports Ctrl-C with this text; typer expects KeyboardInterrupt
            sys.exit(1)
        if os.environ.get("BAROSPEC_DEBUG"):
            raise
        if sentence := exhausted(error):
            note(f"barospec: {sentence}")
            sys.exit(1)
        if isinstance(error, OSError) and error.errno in REFUSED:
            # Refusals of the operating system are not faults of barospec: a full disk, a read-only folder.
            place = f"{error.filename}: " if error.filename else ""
            note(
                f"barospec: {place}{(error.strerror or str(error)).lower()}. The command did not finish. Free space on the disk, or name another location."
            )
            sys.exit(1)
        note(f"barospec: internal error, {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        note("This is an error in barospec. Run the command again with BAROSPEC_DEBUG=1 and report the traceback.")
        sys.exit(1)


if __name__ == "__main__":
    run()
