"""The command line: one command per file, thin over the library.

    commands   their names, and how one is run
    exits      what a run or an error means for the exit code: one table
    output     what a person reads, on stderr
    options    what several commands take
    machine    the rest of the engine, loaded when a command first asks for it
    sending    what the commands that send have in common
    interrupt  SIGTERM as an interrupt
    looking    what `plan --online` looks up
    send plan resume retry status sandbox schema …

Human words go to stderr and `--json` prints one object on stdout, so that a pipe gets
nothing but data. An interrupt ends a command whenever it comes: this file, which the
command starts from, loads next to nothing before one is heard.
"""

from typing import NoReturn

from engine.cli.interrupt import at_once


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    with at_once():
        from engine.cli import commands  # noqa: PLC0415 - see above
    commands.run(arguments)
