"""What a run's certificates say, and that no two runs share anything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controller.errors import StartFailed
from controller.launch.certificates import CONTROLLER, make_credentials, read_credentials, write_credentials
from node.protocol import CREDENTIALS_FILE

x509 = pytest.importorskip("cryptography.x509")


def test_every_process_has_a_certificate_of_its_own_from_one_authority() -> None:
    made = make_credentials(["gpu_0", "csd-1"])
    assert list(made) == ["gpu_0", "csd-1", "arbiter", CONTROLLER]
    assert len({entry.key for entry in made.values()}) == 4
    assert len({entry.token for entry in made.values()}) == len({entry.authority for entry in made.values()}) == 1
    authority = x509.load_pem_x509_certificate(made["gpu_0"].authority.encode())
    for name, entry in made.items():
        certificate = x509.load_pem_x509_certificate(entry.certificate.encode())
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [f"{name}.node.windtunnel"]
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.public_key() != x509.load_pem_x509_certificate(made["gpu_0"].certificate.encode()).public_key()


def test_runs_share_nothing() -> None:
    one, other = make_credentials(["a"]), make_credentials(["a"])
    assert one["a"].token != other["a"].token and len(one["a"].token) >= 43
    assert one["a"].authority != other["a"].authority


def test_the_file_is_for_its_user_alone_and_never_overwritten(tmp_path: Path) -> None:
    made = make_credentials(["a"])
    write_credentials(tmp_path, made)
    path = tmp_path / CREDENTIALS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_credentials(tmp_path) == made[CONTROLLER] and read_credentials(tmp_path, "a") == made["a"]
    with pytest.raises(FileExistsError):
        write_credentials(tmp_path, made)
    for text in ("", "{}", '{"run.controller": {}}', '{"run.controller": 3}', "[]"):
        path.write_text(text)
        with pytest.raises(StartFailed, match="broken"):
            read_credentials(tmp_path)
