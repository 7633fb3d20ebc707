"""The places of third-party conformance data: read in place, never copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "corpora"


def corpora() -> Path:
    """The corpora's directory. Without it the test is skipped in one visible line; under CI that is a failure."""
    directory = Path(os.environ.get("WAYPOST_CORPORA") or _BESIDE)
    if directory.is_dir():
        return directory
    message = f"no conformance data in {directory}: set WAYPOST_CORPORA"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message, allow_module_level=True)


def corpus(path: str) -> Path:
    """One file or directory of the corpora."""
    return corpora() / path
