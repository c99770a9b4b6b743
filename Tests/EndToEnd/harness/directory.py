"""An LDAP directory, OpenLDAP's slapd, with users of a test."""

from __future__ import annotations

import socket
import subprocess
from urllib.parse import quote

from . import certificates
from .peers import Peer
from .ports import free_port
from .waiting import wait_until

BASE = "dc=example,dc=com"
SERVICE = f"cn=mail server,{BASE}"
#: What stands in its certificate: for `localhost` libldap takes the name of the machine.
NAME = "directory.example"
SERVICE_PASSWORD = "service word"


class Slapd(Peer):
    """slapd on `port` (StartTLS), `ldaps` and a Unix socket, with a certificate for `NAME`.

    Each user is a name (`uid`), a folder (`ou`) and a password, None for an entry without one. Anyone may search, but
    for the folder `closed`, which only `SERVICE` may see. A bind with a name and no password succeeds, as in many
    directories (RFC 4513 §5.1.2).
    """

    def __init__(self, *users: tuple[str, str, str | None]) -> None:
        super().__init__("ldap")
        self.ldaps = free_port()
        self.socket = self.folder / "ldapi"
        self.certificate = certificates.make(self.folder, "slapd", NAME)
        (self.folder / "data").mkdir()
        self._config = self.folder / "slapd.conf"
        schemas = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
        self._config.write_text(
            f"{schemas}pidfile {self.folder}/pid\nargsfile {self.folder}/args\nallow bind_anon_cred bind_anon_dn\n"
            f"TLSCertificateFile {self.certificate.chain}\nTLSCertificateKeyFile {self.certificate.key}\n"
            f'database ldif\nsuffix "{BASE}"\ndirectory {self.folder}/data\n'
            "access to attrs=userPassword by anonymous auth by * none\n"
            f'access to dn.subtree="ou=closed,{BASE}" by dn.exact="{SERVICE}" read by anonymous auth by * none\n'
            "access to * by * read\n"
        )
        folders = sorted({folder for _, folder, _ in users} | {"closed"})
        entries = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: example\n"]
        entries.append(f"dn: {SERVICE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
                       f"userPassword: {SERVICE_PASSWORD}\n")  # fmt: skip
        entries += [f"dn: ou={folder},{BASE}\nobjectClass: organizationalUnit\n" for folder in folders]
        for number, (name, folder, password) in enumerate(users):
            entries.append(
                f"dn: cn={number},ou={folder},{BASE}\nobjectClass: inetOrgPerson\nsn: x\nuid: {name}\n"
                f"mail: {number}@example.com\n" + (f"userPassword: {password}\n" if password else "")
            )
        (self.folder / "ldif").write_text("\n".join(entries), "utf-8")
        added = subprocess.run(
            ["/usr/sbin/slapadd", "-f", self._config, "-l", self.folder / "ldif"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        self.serve()

    def serve(self) -> None:
        """Starts it, also once more after `stop`."""
        places = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.ldaps} ldapi://{quote(str(self.socket), safe='')}"
        self.start(["/usr/sbin/slapd", "-d", "0", "-h", places, "-f", self._config])
        wait_until(self._listens, 30, lambda: f"slapd listening{self.describe()}", 0.05)

    def stop(self) -> None:
        assert self.program is not None
        self.program.stop()

    def _listens(self) -> bool:
        for port in (self.port, self.ldaps):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return self.socket.exists()
