"""`waypost version`, in a module of its own: it needs nothing else."""

from __future__ import annotations

from gateway.cli import tell_version
from gateway.cli.options import group

commands = group("The version.")


@commands.command()
def version() -> None:
    """Print the version."""
    print(tell_version())
