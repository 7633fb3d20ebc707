"""`waypost replay` and `waypost promote`: the decisions of other rules, and putting those in force."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, say

if TYPE_CHECKING:
    from gateway.service.runtime import RuntimeConfig
    from gateway.tools.replay import Replay

commands = group("What other rules would have done.")

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0}
_SPAN = re.compile(r"(\d{1,5})([dhm])")
_Since = Annotated[str, typer.Option(help="How far back: 7d, 12h, 30m.")]


@commands.command()
def replay(
    policy: Annotated[str, typer.Option(help="A rule set, or a file with one; the live set when not given.")] = "",
    since: _Since = "7d",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the past messages that these rules would decide otherwise. Works after content is purged; sends nothing."""
    from gateway.tools.replay import render_replay, replay_json

    runtime = app.make_trial(app.read_config(config), policy)
    start = time.time() - _seconds(since)
    found = asyncio.run(_replay(runtime, start))
    if as_json:
        print_json(replay_json(found, runtime.context.rules.name, start))
    else:
        print_text(render_replay(found, runtime.context.rules.name, start))


@commands.command()
def promote(
    policy: Annotated[str, typer.Argument(metavar="SET", help="The rule set to put in force.")],
    since: _Since = "7d",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show what a rule set would have done to past mail, then put it in force: in the configuration, and at once in the
    running gateway."""
    from gateway.tools.replay import render_replay

    settings = app.read_config(config)
    if Path(policy).suffix == ".toml":
        fail(f"Put {policy} into a directory that policy.directory names, and promote it by its name.")
    runtime = app.make_trial(settings, policy)
    start = time.time() - _seconds(since)
    print_text(render_replay(asyncio.run(_replay(runtime, start)), runtime.context.rules.name, start))
    if policy == settings.policy.set:
        say(f"{policy} is in force already.")
        return
    if not yes and not (
        sys.stdin.isatty() and typer.confirm(f"Put {policy} in force instead of {settings.policy.set}?")
    ):
        fail("Nothing is changed." if sys.stdin.isatty() else "Nothing is changed: --yes puts it in force.", 1)
    say(asyncio.run(app.promote(config, policy)))


async def _replay(runtime: RuntimeConfig, start: float) -> Replay:
    from rich.console import Console
    from rich.progress import Progress

    from gateway.tools.replay import replay_all

    spool = app.open_reader(runtime.config)
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("judging again", total=await spool.count_traces(start))
            return await replay_all(spool.traces(start), runtime.context, lambda count: progress.advance(task, count))
    finally:
        await spool.close()


def _seconds(text: str) -> float:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"--since {text}: write a number of days, hours or minutes, as 7d, 12h or 30m")
    return int(found[1]) * _UNITS[found[2]]
