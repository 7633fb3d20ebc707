"""`waypost serve` and what stands before it: check, init, and the demo."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, say
from gateway.config.first import write_first
from gateway.config.keyring import SERVERS_ALONE, is_for_servers_alone
from gateway.demo.run import run_demo
from gateway.demo.sample import send_samples

commands = group("Running the gateway.")


@commands.command()
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway until SIGTERM."""
    sys.exit(app.serve(config))


@commands.command()
def reload(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Have the running gateway read configuration, rules and maps again, and say what came of it."""
    answers = asyncio.run(app.order(config, "reload", {}))
    if as_json:
        print_json(answers)
    else:
        for text in dict.fromkeys(_show_reload(**answer) for answer in answers):
            say(text)
    sys.exit(int(any(answer["problem"] for answer in answers)))


@commands.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check configuration and rules; each mistake is shown with its place."""
    runtime = app.make_runtime(app.read_config(config))
    rules = sum(len(stage) for stage in runtime.context.rules.rules.values())
    counts = f"{len(runtime.config.domain)} domains, {len(runtime.config.backend)} backends"
    policy = f"policy {runtime.context.rules.name} ({rules} rules)"
    for name, backend in runtime.config.backend.items():
        if backend.certificate is not None and is_for_servers_alone(backend.certificate):
            say(f"{config}: note: backend.{name}.certificate {SERVERS_ALONE}")
    if runtime.config.policy.shadow == runtime.config.policy.set:  # as `waypost promote` leaves it
        say(f"{config}: note: policy.shadow is the set in force, so it tells nothing; name another set, or remove it")
    say(f"{config}: good. {counts}, {len(runtime.config.listener)} listeners, {policy}.")


@commands.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("gateway.toml"),
    hostname: Annotated[str, typer.Option(help="The gateway's own name: what MX records will point at.")] = "",
    domain: Annotated[str, typer.Option(help="The first domain it serves.")] = "",
) -> None:
    """Write a first configuration file with comments."""
    try:
        # Secrets are written into it.
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(made, "w", encoding="utf-8") as stream:
            stream.write(write_first(hostname, domain))
    except FileExistsError:
        fail(f"{file} exists; it is left as it is. Name another file.")
    say(f"{file} written. Fill in what is empty, then: waypost check --config {file}")
    say("Before the MX records move, switch on DKIM for the domain at every provider that sends as it.")


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


def _show_reload(problem: str, changed: list[str], after_restart: list[str]) -> str:
    if problem:
        return f"{problem}\nNot reloaded: everything stays as it was."
    now = [name for name in changed if name not in after_restart]
    said = [f"changed: {', '.join(now)}"] if now else []
    said += [f"after a restart: {', '.join(after_restart)}"] if after_restart else []
    return f"Reloaded; {'; '.join(said) or 'nothing has changed'}."
