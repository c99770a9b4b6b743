"""Certificates for tests, made by the `openssl` program."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, in PEM."""

    chain: Path
    key: Path

    @property
    def toml(self) -> dict[str, str]:
        return {"chain": str(self.chain), "key": str(self.key)}

    def fingerprint(self) -> str:
        """SHA-256 of the certificate in DER, in lower-case hexadecimal digits."""
        return fingerprint(self.chain.read_bytes())


def fingerprint(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()


def make(folder: Path, name: str, *names: str, days: int = 30, rsa: int = 0) -> Certificate:
    """Makes `<name>.pem` and `<name>.key` for `names`; `days` of -1: expired; `rsa`: bits of an RSA key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    if rsa:
        _openssl("genrsa", "-out", key, rsa)
    else:
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    request = folder / f"{name}.csr"
    alternative = ",".join(f"DNS:{each}" for each in names or (name,))
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}")
    _openssl("req", "-new", "-key", key, "-out", request, *subject)
    _openssl(
        *("x509", "-req", "-in", request, "-signkey", key, "-out", chain, "-days", days),
        *("-copy_extensions", "copy"),
    )
    return Certificate(chain, key)


def authority(folder: Path, name: str, days: int = 30) -> Certificate:
    """Makes a certificate that signs others, and itself."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key),
        *("-out", chain, "-subj", f"/CN={name}", "-days", days),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
    )
    return Certificate(chain, key)


def issue(folder: Path, name: str, by: Certificate, days: int = 30, extensions: str = "") -> Certificate:
    """Makes a certificate that an authority signs; `extensions` as in openssl.cnf."""
    chain, key, request = (folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
    _openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key),
        *("-out", request, "-subj", f"/CN={name}"),
    )
    wanted = folder / f"{name}.ext"
    wanted.write_text(extensions + "\n")
    _openssl(
        *("x509", "-req", "-in", request, "-CA", by.chain, "-CAkey", by.key, "-out", chain, "-days", days),
        *("-extfile", wanted),
    )
    return Certificate(chain, key)


def _openssl(*words: object) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
