"""A real OpenLDAP server with people in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.gateway_process import free_port, wait_for_port

BASE = "dc=own,dc=example"
ADMIN, PASSWORD = f"cn=admin,{BASE}", "secret"
GROUP = f"cn=Microsoft,{BASE}"

CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/slapd.pid
{tls}
database mdb
maxsize 1073741824
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {directory}/db
sizelimit 500
access to * by users read by anonymous auth
"""


People = Iterable[tuple[str, list[str], bool]]
"""(uid, addresses, is in the group)"""


class Slapd:
    """Started on a free port."""

    def __init__(
        self,
        directory: Path,
        people: Iterable[tuple[str, list[str], bool]],
        certificate: tuple[Path, Path] | None = None,
        more: str = "",
    ) -> None:
        """`more`: further entries in LDIF."""
        self._more = more
        self.directory, self.port = directory, free_port()
        self._tls = certificate is not None
        (directory / "db").mkdir(parents=True)
        self.config = directory / "slapd.conf"
        tls = f"TLSCertificateFile {certificate[0]}\nTLSCertificateKeyFile {certificate[1]}" if certificate else ""
        self.config.write_text(CONFIG.format(directory=directory, base=BASE, admin=ADMIN, password=PASSWORD, tls=tls))
        self._process: subprocess.Popen[bytes] | None = None
        self.load(people)

    @property
    def url(self) -> str:
        return f"{'ldaps' if self._tls else 'ldap'}://127.0.0.1:{self.port}"

    def load(self, people: People) -> None:
        """Replace everything by these people; only while the server is down."""
        for old in (self.directory / "db").iterdir():
            old.unlink()
        ldif = self.directory / "people.ldif"
        with ldif.open("w") as file:
            file.write(f"dn: {BASE}\nobjectClass: domain\ndc: own\n\n")
            for uid, addresses, grouped in people:
                file.write(f"dn: uid={uid},{BASE}\nobjectClass: inetOrgPerson\ncn: {uid}\nsn: {uid}\n")
                file.writelines(f"mail: {address}\n" for address in addresses)
                file.write(f"description: {GROUP}\n\n" if grouped else "\n")
            file.write(self._more)
        command = ["slapadd", "-q", "-f", str(self.config), "-l", str(ldif)]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        command = ["slapd", "-f", str(self.config), "-h", self.url, "-d", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None
