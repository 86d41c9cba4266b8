"""Which addresses need a guard, and which calls carry the token."""

from __future__ import annotations

from dataclasses import fields

import pytest

from node.errors import UnsecuredAddress, UserInput
from node.wire.credentials import Credentials, check_target, credentials_from_data, stays_on_machine

TOKEN = "kQ3-x"
SHOWN = Credentials("authority", "certificate", "key", TOKEN)


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("unix:/tmp/0.sock", True),
        ("unix-abstract:0", True),
        ("127.0.0.1:0", True),
        ("127.8.9.10:50000", True),
        ("[::1]:0", True),
        ("0.0.0.0:0", False),
        ("[::]:0", False),
        ("10.0.0.4:0", False),
        ("169.254.1.1:0", False),
        ("[fe80::1]:0", False),
        ("localhost:0", False),
        ("dns:///localhost:0", False),
        (":0", False),
        ("", False),
    ],
)
def test_only_what_stays_on_the_machine_may_be_unguarded(target: str, stays: bool) -> None:
    assert stays_on_machine(target) is stays
    check_target(target, SHOWN)
    if stays:
        check_target(target, None)
    else:
        with pytest.raises(UnsecuredAddress, match="--bind"):
            check_target(target, None)


def test_a_call_carries_the_token_once_and_whole() -> None:
    good = ("authorization", f"Bearer {TOKEN}")
    assert SHOWN.admits([("user-agent", "x"), good])
    assert SHOWN.admits([("authorization", f"Bearer {TOKEN}".encode())])
    for wrong in ([], [good, good], [("Authorization", good[1])], [("authorization", TOKEN)], [("authorization", "")]):
        assert not SHOWN.admits(wrong)
    for text in ("Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN} ", f"bearer {TOKEN}", "Bearer ü"):
        assert not SHOWN.admits([("authorization", text)])


def test_credentials_travel_as_texts_and_are_refused_incomplete() -> None:
    assert credentials_from_data(SHOWN.to_data()) == SHOWN
    for entry in fields(Credentials):
        for value in (None, "", 3):
            with pytest.raises(UserInput, match=entry.name):
                credentials_from_data({**SHOWN.to_data(), entry.name: value})


def test_secrets_are_not_shown() -> None:
    assert "key'" not in repr(SHOWN) and TOKEN not in repr(SHOWN)
