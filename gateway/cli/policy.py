"""`waypost policy`: the rules, their facts, and the results of their examples."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, JsonOption, fail, group, print_json, print_text

if TYPE_CHECKING:
    from gateway.config.model import Config
    from gateway.policy.rules import RuleSet
    from gateway.tools.trials import Trial, WantedDecision

commands = group("The rules, and what they can ask about.")

_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help=f"The configuration; {DEFAULT_CONFIG} when that is there, else everything as it comes.",
        envvar="WAYPOST_CONFIG",
    ),
]
_Policy = Annotated[str, typer.Option(help="The rule set, instead of the one that the configuration names.")]


@commands.command("facts")
def policy_facts() -> None:
    """List the facts that a rule's `when` may name: type, first stage at which each is known, meaning."""
    from gateway.policy.facts import facts_table

    print(facts_table())


@commands.command("show")
def policy_show(config: _Config = None, policy: _Policy = "", as_json: JsonOption = False) -> None:
    """Show the rules in force in the order they are asked: each with its file, its reply, the settings that feed it."""
    from gateway.config.policies import name_domain_sets
    from gateway.config.rule_files import find_files
    from gateway.tools.rule_sets import Lawbook, render_rule_sets, rule_sets_json

    settings = _read_settings(config)
    domains = name_domain_sets(settings) if settings else {}
    book = Lawbook(_load(settings, policy), find_files(_directory(settings)), settings, domains)
    if as_json:
        print_json(rule_sets_json(book))
    else:
        print_text(render_rule_sets(book))


@commands.command("test")
def policy_test(
    files: Annotated[list[Path] | None, typer.Argument(help="TOML files with [\\[example]] tables.")] = None,
    config: _Config = None,
    policy: _Policy = "",
    as_json: JsonOption = False,
) -> None:
    """Try the examples that stand beside the rules, and those of FILES. The exit status is 1 when one is not true."""
    from gateway.tools.trials import render_trials, trials_json

    path = _find_config(config)
    trials = asyncio.run(_try(files or [], path, _read_settings(config), policy))
    if as_json:
        print_json(trials_json(trials))
    else:
        print_text(render_trials(trials))
    sys.exit(1 if any(trial.problem for trial in trials) else 0)


async def _try(files: list[Path], path: Path | None, settings: Config | None, policy: str) -> list[Trial]:
    from gateway.config.policies import name_domain_sets
    from gateway.tools.trials import read_wanted, try_rules, try_wanted

    more = set(name_domain_sets(settings).values()) if settings and not policy else set()
    sets = [_load(settings, name) for name in (policy, *sorted(more))]
    trials = [trial for one in sets for trial in try_rules(one)]
    defaults = {"config": path, "policy": sets[0].name}
    wanted: list[WantedDecision] = [one for file in files for one in read_wanted(file, defaults)]
    trials += [trial async for trial in try_wanted(wanted, sets[0], app.make_simulation_context())]
    return trials


def _load(settings: Config | None, name: str) -> RuleSet:
    from gateway.config.judging import Policy
    from gateway.config.policies import load_set

    return load_set(name or (settings.policy.set if settings else Policy().set), _directory(settings))


def _directory(settings: Config | None) -> Path | None:
    return settings.policy.directory if settings else None


def _find_config(config: Path | None) -> Path | None:
    if config is not None and not config.exists():
        fail(f"{config}: there is no such file")
    return config.absolute() if config else (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def _read_settings(config: Path | None) -> Config | None:
    path = _find_config(config)
    return None if path is None else app.read_config(path)
