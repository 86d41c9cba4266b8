"""Who may talk to a node: the certificates and the secret of one run, and which addresses need them.

A run that listens beyond one machine has an authority of its own, made when it starts and thrown away then. Every node
and the controller get a certificate of it that names what they are, not where they are; both sides of a connection show
theirs. On top, every call carries the token of the run.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from ipaddress import ip_address

from node.errors import UnsecuredAddress, UserInput
from node.protocol import TOKEN_KEY

_SCHEME = "Bearer "
_SUFFIX = ".node.windtunnel"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one process of a run shows and trusts; PEM texts.

    Attributes:
        authority: certificate of the run's own authority, the only one that is trusted.
        certificate, key: of this process.
        token: secret of the run.
    """

    authority: str
    certificate: str
    key: str = field(repr=False)
    token: str = field(repr=False)

    def admits(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether the metadata of a call carry the token, once; takes as long for any wrong one."""
        expected = (_SCHEME + self.token).encode()
        shown = [value.encode() if isinstance(value, str) else value for key, value in metadata if key == TOKEN_KEY]
        return len(shown) == 1 and hmac.compare_digest(shown[0], expected)

    def to_data(self) -> dict[str, str]:
        """Texts by name, as `credentials_from_data` reads them."""
        return asdict(self)


def credentials_from_data(data: object) -> Credentials:
    """The inverse of `Credentials.to_data`.

    Raises:
        UserInput: something is missing or empty.
    """
    said = data if isinstance(data, Mapping) else {}
    texts = {entry.name: said.get(entry.name) for entry in fields(Credentials)}
    found = {name: text for name, text in texts.items() if isinstance(text, str) and text}
    if len(found) < len(texts):
        missing = ", ".join(name for name in texts if name not in found)
        raise UserInput(f"the credentials lack {missing}; start the run again, which makes new ones")
    return Credentials(**found)


def certificate_name(name: str) -> str:
    """What the certificate of a process names: its device, wherever that listens."""
    return name + _SUFFIX


def stays_on_machine(target: str) -> bool:
    """Whether only processes of this machine can reach a target: a socket file, or a loopback address."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.rpartition(":")[0].strip("[]")
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False  # a name: who it means may change


def check_target(target: str, credentials: Credentials | None) -> None:
    """Refuses an address that strangers reach and that nothing guards.

    Raises:
        UnsecuredAddress: neither on this machine alone, nor with credentials.
    """
    if credentials is None and not stays_on_machine(target):
        raise UnsecuredAddress(
            f"{target} can be reached from other machines and the node has neither certificate nor token; listen on a "
            "unix socket or a loopback address, or start the run with --bind, which makes them"
        )
