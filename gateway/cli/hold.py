"""`waypost hold`: messages that a rule keeps here until an admin decides."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, group, print_json, print_text, say, warn

if TYPE_CHECKING:
    from gateway.config.model import Config
    from gateway.model.delivery import HeldEntry

commands = group("Messages that a rule keeps here until an admin decides.")

_MOST = 10_000
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids, as `waypost hold list` shows them.")]
DomainOption = Annotated[str, typer.Option(help="Instead of ids: all that is held of this author domain.")]


@commands.command("list")
def hold_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List what is held, the oldest on top."""
    from gateway.tools.queue import held_json, render_held

    entries = asyncio.run(_read(app.read_partly(config, warn).config))
    if as_json:
        print_json(held_json(entries))
    else:
        print_text(render_held(entries, time.time()))


@commands.command("show")
def hold_show(
    id: Annotated[str, typer.Argument(help="The message's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    raw: Annotated[bool, typer.Option("--raw", help="Write the message itself, octet by octet as received.")] = False,
) -> None:
    """Show what a held message says of itself, and why it is held; `waypost explain ID` has all the evidence."""
    from gateway.tools.queue import render_held_message

    async def show() -> bool:
        spool = app.open_reader(app.read_partly(config, warn).config)
        try:
            story = await spool.story(id)
            if story is None or not story.held:
                return False
            if not raw:
                print_text(render_held_message(story))
                return True
            octets = await spool.content(id)
            if octets is not None:
                async for chunk in octets:
                    sys.stdout.buffer.write(chunk)
            return octets is not None
        finally:
            await spool.close()

    if not asyncio.run(show()):
        say(f"{id} is not held.", error=True)
        sys.exit(1)


@commands.command("release")
def hold_release(ids: IdsArgument = None, config: ConfigOption = DEFAULT_CONFIG, domain: DomainOption = "") -> None:
    """Deliver held messages, unaltered, by the routes of now; their verdict field says action=released."""
    sys.exit(_decide("hold release", "released", ids, domain, config))


@commands.command("delete")
def hold_delete(ids: IdsArgument = None, config: ConfigOption = DEFAULT_CONFIG, domain: DomainOption = "") -> None:
    """Remove held messages; their senders are not told."""
    sys.exit(_decide("hold delete", "deleted", ids, domain, config))


def _decide(command: str, done: str, ids: list[str] | None, domain: str, config: ConfigOption) -> int:
    """Let the spool's owner do it, one message after the other; returns 1 when one of them was refused."""
    if bool(ids) == bool(domain):
        raise ValueError("give ids, or --domain")
    if domain:
        ids = [
            one.id for one in asyncio.run(_read(app.read_partly(config, warn).config)) if one.domain == domain.lower()
        ]
    else:
        app.read_partly(config, warn)
    problems = 0
    for id in ids or ():
        answers = asyncio.run(app.order(config, command, {"id": id.strip("()"), "by": getpass.getuser()}))
        if None in answers:
            say(f"{id} {done}")
        else:
            problems += 1
            say("\n".join(dict.fromkeys(answers)), error=True)
    if domain and not ids:
        say(f"Nothing is held of {domain}.")
    return int(problems > 0)


async def _read(config: Config) -> list[HeldEntry]:
    spool = app.open_reader(config)
    try:
        return list(await spool.held(_MOST))
    finally:
        await spool.close()
