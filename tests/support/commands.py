"""Types commands of the checkout, in this process: their imports would take most of the time."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from gateway.cli import main


def type_command(*words: str, config: Path) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch("sys.argv", ["waypost", *words, "--config", str(config)]):
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    out.seek(0)
    return status, out.read(), err.getvalue()
