"""`waypost serve` and the commands before it: check, init, and the demo."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, say

if TYPE_CHECKING:
    from gateway.config.model import Config
    from gateway.diagnosis.records.own_domains import DomainFinding
    from gateway.service.runtime import RuntimeConfig

commands = group("Running the gateway.")

_DNS_BUDGET = 60.0
"""Seconds for the lookups about one domain: a person waits for it."""


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
def check(
    config: ConfigOption = DEFAULT_CONFIG,
    dns: Annotated[
        bool,
        typer.Option(
            "--dns",
            help="Ask DNS about the domains, too: whether each half signs as them, and whom their SPF records let pass "
            "besides. By [dns] nameservers, or from [dns] zone.",
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings end with exit status 1.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration and rules; each mistake is shown with its place.

    Exit status 0 when all is well, also with warnings; 1 when --dns found something to do or had no answer, and with
    --strict for a warning; 2 for a mistake.
    """
    from gateway.diagnosis.records.own_domains import OK, domains_json, find_worst, render_domains
    from gateway.tools.cautions import cautions_json, find_cautions

    runtime = app.make_runtime(app.read_config(config))
    rules = sum(len(stage) for stage in runtime.context.rules.rules.values())
    notes = list(_find_notes(runtime.config))
    found = asyncio.run(_ask_dns(runtime)) if dns else ()
    state = find_worst(found)
    cautions = find_cautions(runtime.config, runtime.routing, time.time())
    if as_json:
        counts = {name: len(getattr(runtime.config, name)) for name in ("domain", "backend", "listener")}
        policy = {"set": runtime.context.rules.name, "rules": rules}
        print_json(
            {
                "state": state,
                **counts,
                "policy": policy,
                "notes": notes,
                "warnings": cautions_json(cautions),
                "dns": domains_json(found),
            }
        )
    else:
        counts_said = f"{len(runtime.config.domain)} domains, {len(runtime.config.backend)} backends"
        policy_said = f"policy {runtime.context.rules.name} ({rules} rules)"
        said = [f"{config}: warning: {one.format()}" for one in cautions]
        said += [f"{config}: note: {note}" for note in notes]
        for text in (*said, *render_domains(found)):
            say(text)
        warned = f" {len(cautions)} {'warning' if len(cautions) == 1 else 'warnings'}." if cautions else ""
        say(f"{config}: good.{warned} {counts_said}, {len(runtime.config.listener)} listeners, {policy_said}.")
    sys.exit(int(state != OK or (strict and bool(cautions))))


@commands.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("gateway.toml"),
    hostname: Annotated[str, typer.Option(help="The gateway's own name: what MX records will point at.")] = "",
    domain: Annotated[str, typer.Option(help="The first domain it serves.")] = "",
) -> None:
    """Write a first configuration file with comments."""
    from gateway.config.first import write_first

    try:
        # Admins write secrets into it.
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(made, "w", encoding="utf-8") as stream:
            stream.write(write_first(hostname, domain))
    except FileExistsError:
        fail(f"{file} exists; it is left as it is. Name another file.")
    say(f"{file} written. Fill in what is empty, then: waypost check --config {file}")
    say("Before the MX records move, switch on DKIM for the domain at every provider that sends as it;")
    say(f"whether DNS has the keys: waypost check --dns --config {file}")


@commands.command()
def demo() -> None:
    """Run the demo: the gateway, two stand-in backends, a test CA and DNS, all below var/demo."""
    from gateway.demo.run import run_demo

    sys.exit(run_demo(Path.cwd()))


@commands.command("send-sample")
def send_sample(
    kind: Annotated[str, typer.Option(help="signed, spoof, plain or all.")] = "all",
) -> None:
    """Send sample messages to the running demo and show what became of each."""
    from gateway.demo.sample import send_samples

    sys.exit(send_samples(Path.cwd(), kind))


def _show_reload(problem: str, changed: list[str], after_restart: list[str]) -> str:
    if problem:
        return f"{problem}\nNot reloaded: everything stays as it was."
    now = [name for name in changed if name not in after_restart]
    said = [f"changed: {', '.join(now)}"] if now else []
    said += [f"after a restart: {', '.join(after_restart)}"] if after_restart else []
    return f"Reloaded; {'; '.join(said) or 'nothing has changed'}."


def _find_notes(config: Config) -> Iterator[str]:
    """Points that are not mistakes, but worth knowing."""
    from gateway.config.keyring import SERVERS_ALONE, is_for_servers_alone

    for name, backend in config.backend.items():
        if backend.certificate is not None and is_for_servers_alone(backend.certificate):
            yield f"backend.{name}.certificate {SERVERS_ALONE}"
    if config.policy.shadow == config.policy.set:  # as `waypost promote` leaves it
        yield "policy.shadow is the set in force, so it tells nothing; name another set, or remove it"


async def _ask_dns(runtime: RuntimeConfig) -> tuple[DomainFinding, ...]:
    """The findings of DNS about every own domain, and about every `dkim` in the configuration."""
    from gateway.config.providers import find_provider
    from gateway.diagnosis.records.own_domains import examine_domain, examine_signer
    from gateway.model.decision import Stage
    from gateway.net.system import SystemClock
    from gateway.service.authenticator import Authenticator

    config = runtime.config
    asker = Authenticator(app.make_resolver(config), SystemClock(), _DNS_BUDGET)
    guarded = any("spf.only" in rule.condition.text for rule in runtime.context.rules.rules[Stage.DATA])
    found: list[DomainFinding] = []
    # Maps that were never fetched contribute nothing yet: every backend that a directory names may then have mailboxes.
    directories = config.routing.ldap if runtime.routing.stale else ()
    fetched = frozenset(name for one in directories for name in (one.backend, *one.backends.values()))
    for domain in dict.fromkeys(one.name for one in config.domain):
        backends = runtime.routing.backends_of(domain) | fetched
        providers = {find_provider(config.backend[name].preset) for name in backends} - {""}
        found += (await asker.run(partial(examine_domain, domain, providers, guarded)))[0]
    named = (signer for one in (*config.policy.sender, *config.policy.forwarder) for signer in one.dkim)
    for signer in dict.fromkeys(named):
        found.append((await asker.run(partial(examine_signer, signer)))[0])
    return tuple(found)
