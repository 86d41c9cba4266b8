"""Makes what the processes of one run show each other when they listen beyond their machine.

The authority signs once and its key is forgotten at once: nobody can join a run later. Certificates name devices, so
that they hold wherever a device is placed.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from controller.clock import calendar_now
from controller.errors import MissingExtra, StartFailed
from node.client import Credentials, certificate_name, credentials_from_data
from node.errors import NodeError
from node.protocol import ARBITER, CREDENTIALS_FILE

CONTROLLER = "run.controller"
"""What the controller's certificate names; no device is called so."""
_TOKEN_BYTES = 32
_VALID = timedelta(days=366)
"""For as long as nodes may stay up without being started again."""
_CLOCKS_DIFFER = timedelta(days=1)


def make_credentials(devices: Iterable[str]) -> dict[str, Credentials]:
    """Certificates of one fresh authority, and a fresh token, for every device, the arbiter and the controller.

    Args:
        devices: names.

    Raises:
        MissingExtra: the library that makes certificates is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509 import oid
    except ImportError as error:
        raise MissingExtra(
            "nodes beyond this machine show certificates, which needs the optional extra: "
            "pip install 'windtunnel[remote]'"
        ) from error
    text = serialization.Encoding.PEM
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    signer = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "authority of one windtunnel run")])
    began = calendar_now() - _CLOCKS_DIFFER
    authority = (
        x509.CertificateBuilder(issuer, issuer, signer.public_key(), x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signer, hashes.SHA256())
    )
    purposes = [oid.ExtendedKeyUsageOID.SERVER_AUTH, oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    made: dict[str, Credentials] = {}
    for name in (*devices, ARBITER, CONTROLLER):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "process of one windtunnel run")])
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + _VALID)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(certificate_name(name))]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .sign(signer, hashes.SHA256())
        )
        secret = key.private_bytes(text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made[name] = Credentials(
            authority.public_bytes(text).decode(), certificate.public_bytes(text).decode(), secret.decode(), token
        )
    return made


def write_credentials(directory: Path, credentials: Mapping[str, Credentials]) -> None:
    """Puts credentials where the fork server finds them, readable by this user alone."""
    content = json.dumps({name: entry.to_data() for name, entry in credentials.items()})
    descriptor = os.open(directory / CREDENTIALS_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)


def read_credentials(directory: Path, name: str = CONTROLLER) -> Credentials:
    """One process's credentials out of the directory of a run.

    Raises:
        StartFailed: the file is gone or broken.
    """
    path = directory / CREDENTIALS_FILE
    try:
        return credentials_from_data(json.loads(path.read_text())[name])
    except (OSError, ValueError, KeyError, TypeError, NodeError) as error:
        raise StartFailed(f"{path} is gone or broken ({error}); stop the run and start it again") from error
