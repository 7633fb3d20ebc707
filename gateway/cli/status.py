"""`waypost status`: whether mail comes in and goes out, on one screen."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, group, print_json, print_text

commands = group("Whether mail comes in and goes out.")

_EVERY = 5.0
"""Seconds between two views of --watch."""


@commands.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every five seconds, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show whether mail comes in and goes out: routes, queue, disk, certificates, maps, alarms, workers.

    Exit status 0 when all is well, 1 when something needs a look. It works while no gateway runs, too.
    """
    from gateway.tools.status import OK, render_status, status_json

    while True:
        tree = status_json(asyncio.run(app.read_status(config)))
        if watch and not as_json and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        if as_json:
            print_json(tree, None if watch else 2)
        else:
            print_text(render_status(tree))
        if not watch:
            sys.exit(int(tree["state"] != OK))
        try:
            time.sleep(_EVERY)
        except KeyboardInterrupt:
            sys.exit(int(tree["state"] != OK))
