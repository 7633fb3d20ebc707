"""The `waypost` command: options in, text or JSON out. What it does is done by `app` and `tools`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from gateway import __version__, app
from gateway.config.first import write_first
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.demo.run import run_demo
from gateway.demo.sample import send_samples
from gateway.model.delivery import Story
from gateway.policy.facts import facts_table
from gateway.policy.rules import RuleErrors
from gateway.spool.disk import SpoolUnusable
from gateway.tools.explain import Checked, check_content, render_story, replay, story_json
from gateway.tools.queue import queue_json, render_queue
from gateway.tools.simulate import CaseError, read_case, render_simulation, run_batch, simulation_json
from gateway.tools.simulate import simulate as simulate_case

DEFAULT_CONFIG = Path("/etc/waypost/gateway.toml")

commands = typer.Typer(
    help="An SMTP relay gateway that judges each message once, at the true edge, and changes no byte of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy_commands = typer.Typer(help="The rules, and what they can ask about.", no_args_is_help=True)
commands.add_typer(policy_commands, name="policy")
queue_commands = typer.Typer(help="What waits for delivery.", no_args_is_help=True)
commands.add_typer(queue_commands, name="queue")

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.", envvar="WAYPOST_CONFIG")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main() -> None:
    """Entry point. A mistake of the user's is a message and exit status 2, never a traceback."""
    try:
        commands()
    except (ConfigErrors, RuleErrors) as error:
        _fail(error.format())
    except (CaseError, SpoolUnusable, OSError, ValueError) as error:
        _fail(str(error))


def _fail(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(2)


def _print_json(tree: Any) -> None:
    print(json.dumps(tree, ensure_ascii=False, indent=2))


@commands.command()
def version() -> None:
    """Print the version."""
    print(f"waypost {__version__}")


@commands.command()
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway until SIGTERM."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(app.run_gateway(config)))


@commands.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check configuration and rules; every mistake is shown with its place."""
    law = app.make_law(app.read_config(config))
    rules = sum(len(stage) for stage in law.bench.rules.rules.values())
    print(f"{config}: good. {len(law.config.domain)} domains, {len(law.config.backend)} backends, ", end="")
    print(f"{len(law.config.listener)} listeners, policy {law.bench.rules.name} ({rules} rules).")


@commands.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("gateway.toml"),
    hostname: Annotated[str, typer.Option(help="The gateway's own name: what MX records will point at.")] = "",
    domain: Annotated[str, typer.Option(help="The first domain it serves.")] = "",
) -> None:
    """Write a first configuration file with comments."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(write_first(hostname, domain))
    except FileExistsError:
        _fail(f"{file} exists; it is left as it is. Name another file.")
    print(f"{file} written. Fill in what is empty, then: waypost check --config {file}")


@commands.command()
def explain(
    id: Annotated[str, typer.Argument(help="The id in parentheses at the end of a reply.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell the story of one message: what came in, what was found, what was decided and why, what became of it."""
    settings = app.read_config(config)
    found = asyncio.run(_read_story(settings, id.strip("()")))
    if found is None:
        print(f"No message with the id {id} is stored in {settings.server.spool}.", file=sys.stderr)
        sys.exit(1)
    story, checked = found
    if as_json:
        _print_json(story_json(story, checked))
    else:
        Console(highlight=False, soft_wrap=True).print(render_story(story, checked))


async def _read_story(config: Config, id: str) -> tuple[Story, Checked] | None:
    spool = app.open_reader(config)
    try:
        story = await spool.story(id)
        if story is None:
            return None
        content = await check_content(story.trace, await spool.content(id))
        return story, Checked(content, replay(story.trace, app.make_law(config).bench))
    finally:
        await spool.close()


@policy_commands.command("facts")
def policy_facts() -> None:
    """List the facts that a rule's `when` may name: type, first stage at which each is known, meaning."""
    print(facts_table())


@queue_commands.command("list")
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
            _print_json(queue_json(entries))
        else:
            Console(highlight=False, soft_wrap=True).print(render_queue(entries, time.time()))

    asyncio.run(read())


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
    raw: Annotated[bool, typer.Option("--raw", help="Never convert line ends.")] = False,
    batch: Annotated[Path | None, typer.Option(help="Judge many: one JSON object a line.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a message file as if it came in now, without sending anything."""
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
        "raw": raw or None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    workshop = app.make_workshop()
    if batch is not None:
        sys.exit(asyncio.run(_simulate_batch(batch, batch.absolute().parent, given)))
    simulation = asyncio.run(simulate_case(read_case(given, Path()), workshop))
    if as_json:
        _print_json(simulation_json(simulation))
    else:
        Console(highlight=False, soft_wrap=True).print(render_simulation(simulation))


async def _simulate_batch(batch: Path, directory: Path, defaults: dict[str, Any]) -> int:
    failed = False
    with batch.open("rb") as lines:
        async for result in run_batch(lines, directory, defaults, app.make_workshop()):
            failed = failed or "error" in result
            print(json.dumps(result, ensure_ascii=False), flush=True)
    return int(failed)


@commands.command()
def demo() -> None:
    """Run the demo: the gateway, two stand-in backends, a test CA and DNS, all below var/demo."""
    sys.exit(run_demo(Path.cwd()))


@commands.command("send-sample")
def send_sample(
    kind: Annotated[str, typer.Option(help="signed, spoof, plain or all.")] = "all",
) -> None:
    """Send sample messages to the running demo and show what became of each."""
    sys.exit(send_samples(Path.cwd(), kind))


if __name__ == "__main__":
    main()
