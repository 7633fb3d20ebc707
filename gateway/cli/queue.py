"""`waypost queue`: what waits for delivery."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, group, print_json, print_text
from gateway.tools.queue import queue_json, render_queue

commands = group("What waits for delivery.")


@commands.command("list")
def queue_list(
    config: ConfigOption = DEFAULT_CONFIG,
    most: Annotated[int, typer.Option(help="How many at most.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List the transfers that wait, those due first on top."""

    async def read() -> None:
        spool = app.open_reader(app.read_config(config))
        try:
            entries = await spool.queue(most)
        finally:
            await spool.close()
        if as_json:
            print_json(queue_json(entries))
        else:
            print_text(render_queue(entries, time.time()))

    asyncio.run(read())
