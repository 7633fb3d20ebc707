"""`waypost explain` and `waypost simulate`: one message, stored or as a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, warn

if TYPE_CHECKING:
    from gateway.config.load import PartialConfig
    from gateway.model.delivery import Story
    from gateway.tools.explain import Checked, Replayed

commands = group("One message.")


_STANDING = (
    "familiar: mail of the author's domain has passed here from this network. stranger: it has, but never "
    "from there. unknown (default): it never has."
)
_CLIENT = (
    "known: others' mail has passed from this client (default with --standing familiar or stranger). "
    "unknown: nothing has (default otherwise)."
)


@commands.command()
def explain(
    id: Annotated[str, typer.Argument(help="The id in parentheses at the end of a reply.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Show the rules that said no, too.")] = False,
) -> None:
    """Tell the story of one message: what came in, what was found, what was decided and why, what became of it."""
    from gateway.tools.explain import render_story, story_json

    settings = app.read_partly(config, warn)
    found = asyncio.run(_read_story(settings, id.strip("()")))
    if found is None:
        fail(f"No message with the id {id} is stored in {settings.config.server.spool}.", 1)
    story, checked = found
    if as_json:
        print_json(story_json(story, checked))
    else:
        print_text(render_story(story, checked, everything))


async def _read_story(settings: PartialConfig, id: str) -> tuple[Story, Checked] | None:
    from gateway.tools.explain import Checked, check_content

    spool = app.open_reader(settings.config)
    try:
        story = await spool.story(id)
        if story is None:
            return None
        content = await check_content(story.trace, await spool.content(id))
        return story, Checked(content, _replay(story, settings))
    finally:
        await spool.close()


def _replay(story: Story, settings: PartialConfig) -> Replayed | None:
    """None where configuration or rules are so broken that nothing can be judged by them."""
    from gateway.config.mistakes import ConfigErrors
    from gateway.policy.rules import RuleErrors
    from gateway.tools.explain import replay

    try:
        context = app.make_partial_runtime(settings).context
    except (ConfigErrors, RuleErrors) as error:
        if not settings.mistakes:
            warn(f"warning: {error.format()}")
        return None
    return replay(story.trace, context)


@commands.command()
def simulate(
    file: Annotated[Path | None, typer.Argument(help="The message.")] = None,
    ip: Annotated[str | None, typer.Option(help="The client's address.")] = None,
    helo: Annotated[str | None, typer.Option(help="What it says in EHLO.")] = None,
    mail_from: Annotated[str | None, typer.Option(help="MAIL FROM; '' is the null sender.")] = None,
    rcpt: Annotated[list[str] | None, typer.Option(help="RCPT TO; may be given several times.")] = None,
    dns: Annotated[Path | None, typer.Option(help="Answer DNS from this zone file; no network is used.")] = None,
    now: Annotated[float | None, typer.Option(help="The time to judge at, epoch seconds.")] = None,
    config: Annotated[Path | None, typer.Option(help="Judge as this configuration would.")] = None,
    policy: Annotated[str | None, typer.Option(help="The rule set to judge by.")] = None,
    standing: Annotated[str | None, typer.Option(help=_STANDING)] = None,
    client: Annotated[str | None, typer.Option(help=_CLIENT)] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Never convert line ends.")] = False,
    batch: Annotated[Path | None, typer.Option(help="Judge many: one JSON object a line.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a message file as if it came in now, without sending anything."""
    from gateway.tools.simulate import read_case, render_simulation, simulation_json
    from gateway.tools.simulate import simulate as simulate_case

    options: dict[str, Any] = {
        "file": file and file.absolute(),
        "ip": ip,
        "helo": helo,
        "mail_from": mail_from,
        "rcpt": rcpt or None,
        "dns": dns and dns.absolute(),
        "now": now,
        "config": config and config.absolute(),
        "policy": policy,
        "standing": standing,
        "client": client,
        "raw": raw or None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    simulation_context = app.make_simulation_context()
    if batch is not None:
        sys.exit(asyncio.run(_simulate_batch(batch, batch.absolute().parent, given)))
    simulation = asyncio.run(simulate_case(read_case(given, Path()), simulation_context))
    if as_json:
        print_json(simulation_json(simulation))
    else:
        print_text(render_simulation(simulation))


async def _simulate_batch(batch: Path, directory: Path, defaults: dict[str, Any]) -> int:
    from gateway.tools.simulate import run_batch

    failed = False
    with batch.open("rb") as lines:
        async for result in run_batch(lines, directory, defaults, app.make_simulation_context()):
            failed = failed or "error" in result
            print_json(result, indent=None)
    return int(failed)
