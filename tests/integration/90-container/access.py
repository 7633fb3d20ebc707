"""This machine's access to its package archives, given to a root for the time of one step and never left in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
APT_SETTINGS = ("Proxy", "Check-Valid-Until", "Check-Date")
LENT = Path("run/access")
"""Below the root: /run is empty in an image."""


class Access:
    def __init__(self) -> None:
        pip = _pip_settings()
        self.authorities = _authorities(pip)
        lent = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in pip.items() if name in PIP_SETTINGS}
        if self.authorities:
            lent["PIP_CERT"] = f"/{LENT}/authorities.pem"
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **{name: os.environ[name] for name in PROXIES if name in os.environ},
            **lent,
            "APT_CONFIG": f"/{LENT}/apt.conf",
        }

    @contextmanager
    def granted(self, root: Path) -> Iterator[None]:
        """A directory that exists only while the step runs."""
        place = root / LENT
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        try:
            (place / "apt.conf").write_text(_apt_settings())
            if self.authorities:
                (place / "authorities.pem").write_bytes(self.authorities.read_bytes())
            yield
        finally:
            subprocess.run(["umount", place], check=True)
            place.rmdir()


def _pip_settings() -> dict[str, str]:
    """pip's own view of its configuration; indexes on this machine's disk are left out."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    settings: dict[str, str] = {}
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        words = [word for word in value.strip("'\"").replace("\\n", " ").split() if not word.startswith("file:")]
        if words:
            settings[key.rpartition(".")[2]] = " ".join(words)
    return settings


def _authorities(pip: dict[str, str]) -> Path | None:
    """The bundle of certificate authorities that this machine trusts, where it is not the packaged default."""
    named = pip.get("cert") or os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return Path(named) if named and Path(named).is_file() else None


def _apt_settings() -> str:
    listing = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = [line for line in listing.splitlines() if any(f"::{name} " in line for name in APT_SETTINGS)]
    return "\n".join(line for line in wanted if line.startswith("Acquire::")) + "\n"
