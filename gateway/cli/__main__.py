"""`python -m gateway.cli`: the `waypost` command where it is not installed."""

from gateway.cli import main

main()
