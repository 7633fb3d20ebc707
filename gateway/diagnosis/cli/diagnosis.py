"""`waypost headers`: the contents of a message's header."""

from __future__ import annotations

import typer

from gateway.cli.options import FileArgument, JsonOption, RawOption, group, print_json, print_text, read_file

commands = group("One file.")


@commands.command()
def headers(file: FileArgument, raw: RawOption = False, as_json: JsonOption = False) -> None:
    """Tell what the header of a message says: its way, who vouched for it, what went wrong and what to do.

    Asks nobody: all it says rests on what the servers on the way wrote down. Exit status 0; 1 when the
    file has no header field; 2 when it cannot be read.
    """
    from gateway.diagnosis.headers import find_all, headers_json, read_headers, render_headers
    from gateway.tools.results import read_lines

    octets, newlines = read_lines(read_file(file), raw)
    reading = read_headers(octets)
    findings = find_all(reading)
    if as_json:
        print_json(headers_json(reading, findings, newlines))
    else:
        print_text(render_headers(reading, findings, newlines))
    if reading.pasted.problem:
        raise typer.Exit(1)
