"""The `waypost` command: options in, text or JSON out. What it does is done by `app` and `tools`.

Each module has one group of commands and is added here in one line.
"""

from __future__ import annotations

from gateway.admin.control import Refused
from gateway.cli import messages, policy, queue, service
from gateway.cli.options import fail, group
from gateway.config.mistakes import ConfigErrors
from gateway.policy.rules import RuleErrors
from gateway.spool.disk import SpoolUnusable
from gateway.tools.simulate import CaseError

commands = group("An SMTP relay gateway that judges each message once, at the true edge, and changes no byte of it.")
commands.add_typer(service.commands)
commands.add_typer(messages.commands)
commands.add_typer(policy.commands, name="policy")
commands.add_typer(queue.commands, name="queue")


def main() -> None:
    """Entry point. A mistake of the user's is a message and exit status 2, never a traceback."""
    try:
        commands()
    except (ConfigErrors, RuleErrors) as error:
        fail(error.format())
    except (CaseError, Refused, SpoolUnusable, OSError, ValueError) as error:
        fail(str(error))
