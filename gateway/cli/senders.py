"""`waypost senders`: the sources that write as us."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, group, print_json, print_text

commands = group("Who writes as us.")

_MOST = 10_000


@commands.command()
def senders(
    domain: Annotated[list[str] | None, typer.Argument(help="Author domains; all of yours when none is given.")] = None,
    others: Annotated[
        bool, typer.Option("--others", help="Whose mail fails that writes as domains of others.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List every source of your domains' mail from outside: how often it passed and failed, what it seems to be, and
    the lines that would let it write as you."""
    from gateway.config.policies import fact_settings
    from gateway.tools.senders import find_origins, read_domains, render_senders, senders_json

    settings = app.read_config(config)
    facts = fact_settings(settings)
    domains = [] if others else read_domains(domain or (), sorted(facts.own | facts.protected))

    async def read() -> None:
        spool = app.open_reader(settings)
        try:
            found = await spool.senders(domains, _MOST)
        finally:
            await spool.close()
        origins = find_origins(found, facts)
        if as_json:
            print_json(senders_json(origins))
        else:
            print_text(render_senders(origins))

    asyncio.run(read())
