"""`waypost policy`: the rules, and what they can ask about."""

from __future__ import annotations

from gateway.cli.options import group
from gateway.policy.vocabulary import facts_table

commands = group("The rules, and what they can ask about.")


@commands.command("facts")
def policy_facts() -> None:
    """List the facts that a rule's `when` may name: type, first stage at which each is known, meaning."""
    print(facts_table())
