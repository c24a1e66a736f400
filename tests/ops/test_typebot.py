"""Rows of a Typebot's table of credentials, encrypted here by another library's hands."""

import base64
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from hypothesis import given
from hypothesis import strategies as st

from pombo.ops.typebot import read_credentials, read_rows
from pombo.shared.errors import ConfigurationError, PomboError

SECRET = "0123456789abcdef0123456789abcdef"
IV = bytes(range(12))
V2 = {
    "id": "cred_2",
    "type": "segment",
    "name": "New",
    "workspaceId": "w1",
    "data": "VsfaDLBTt9WK5lPtKIGFTKNcSsRj6ybCdJnk//18jvlhNOfIEqBToSr7Zlij6Vmh",
    "iv": "000102030405060708090a0b",
}
V1 = {
    "id": "cred_1",
    "type": "segment",
    "name": "Old",
    "data": "56c7da0cb053b7d58ae653ed2881854ca35c4ac463eb26c27499e4fffd7c8ef9",
    "iv": "000102030405060708090a0b.6134e7c812a053a12afb6658a3e959a1",
}


def sealed(plain: str, secret: str, iv: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and tag, made by the cipher itself and not by what the reader uses."""
    encryptor = Cipher(AES(secret.encode()), GCM(iv)).encryptor()
    return encryptor.update(plain.encode()) + encryptor.finalize(), encryptor.tag


def row(version: int, plain: str, secret: str = SECRET, iv: bytes = IV) -> dict[str, Any]:
    """A row of the table in one of its forms."""
    text, tag = sealed(plain, secret, iv)
    if version == 2:
        return {"id": "c", "type": "segment", "data": base64.b64encode(text + tag).decode(), "iv": iv.hex()}
    return {"id": "c", "type": "segment", "data": text.hex(), "iv": f"{iv.hex()}.{tag.hex()}"}


def keys(rows: list[dict[str, Any]], secret: str = SECRET) -> list[str]:
    """The write keys of rows."""
    return [one.write_key for one in read_credentials(read_rows(json.dumps(rows).encode()), secret)]


def test_known_rows() -> None:
    """Both forms are read, and told apart by their iv."""
    found = list(read_credentials([V2, V1], SECRET))
    assert [("cred_2", 2, "SYNTHETIC_WRITE_KEY"), ("cred_1", 1, "SYNTHETIC_WRITE_KEY")] == [
        (one.id, one.version, one.write_key) for one in found
    ]


@given(
    st.text(min_size=1, max_size=40),
    st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "S")), min_size=32, max_size=32),
    st.binary(min_size=12, max_size=12),
)
def test_round_trips(write_key: str, secret: str, iv: bytes) -> None:
    """Whatever the cipher made of a key is read back, in both forms."""
    plain = json.dumps({"apiKey": write_key})
    assert [write_key] * 2 == keys([row(2, plain, secret, iv), row(1, plain, secret, iv)], secret)


def test_old_ivs_of_sixteen_bytes() -> None:
    """The form before the present one may have longer ivs."""
    assert ["k"] == keys([row(1, '{"apiKey":"k"}', iv=os.urandom(16))])


@pytest.mark.parametrize(
    ("given_row", "problem"),
    [
        (row(2, '{"apiKey":"k"}', "x" * 32), "another ENCRYPTION_SECRET"),
        (row(1, '{"apiKey":"k"}', "x" * 32), "another ENCRYPTION_SECRET"),
        ({**V2, "data": V2["data"][:-4]}, "another ENCRYPTION_SECRET"),
        ({**V2, "data": "AAAA"}, "no encrypted row"),
        ({**V2, "data": "!"}, "no encrypted row"),
        ({**V2, "iv": "z" * 24}, "no encrypted row"),
        ({**V1, "data": "zz"}, "no encrypted row"),
        ({**V1, "iv": "00.00"}, "no encrypted row"),
        ({**V1, "iv": "é"}, "no encrypted row"),
        ({**V1, "iv": None}, "no encrypted row"),
        (row(2, '{"apiKey":""}'), "no encrypted row"),
        (row(2, '["k"]'), "no encrypted row"),
        (row(2, "no JSON"), "no encrypted row"),
    ],
)
def test_what_cannot_be_opened(given_row: dict[str, Any], problem: str) -> None:
    """A row that cannot be read says why, and has no key; others are read all the same."""
    bad, good = read_credentials([given_row, V2], SECRET)
    assert "" == bad.write_key
    assert problem in bad.problem
    assert "SYNTHETIC_WRITE_KEY" == good.write_key


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, "x" * 33, "é" * 32])
def test_a_secret_that_is_no_key(secret: str) -> None:
    """The platform's secret has 32 bytes; another length is said at once, and not the secret."""
    with pytest.raises(ConfigurationError, match="has 32") as caught:
        list(read_credentials([V2], secret))
    assert not secret or secret not in str(caught.value)


def test_other_services_are_passed_over() -> None:
    """Only Segment's credentials are opened."""
    assert ["SYNTHETIC_WRITE_KEY"] == keys([{**V1, "type": "smtp"}, V2])


@pytest.mark.parametrize(
    "text", [json.dumps(V2), json.dumps([V2]), json.dumps(V2) + "\n\n", json.dumps(V2) + "\n" + json.dumps(V2) + "\n"]
)
def test_forms_of_a_file(text: str) -> None:
    """An object, a list or an object a line."""
    found = list(read_credentials(read_rows(text.encode()), SECRET))
    assert {"SYNTHETIC_WRITE_KEY"} == {one.write_key for one in found}


@pytest.mark.parametrize("text", ["", "x", "[]", "5", "[5]", "{}", '{"data":"x"}', '{"data":1}\nx'])
def test_what_is_no_file_of_credentials(text: str) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(ConfigurationError, match="credentials"):
        read_rows(text.encode())


@given(st.binary(max_size=60), st.text(max_size=40), st.text(max_size=40))
def test_nothing_else_is_raised(raw: bytes, data: str, iv: str) -> None:
    """Whatever a file or a row holds, the errors are ours."""
    try:
        read_rows(raw)
    except PomboError as error:
        words = str(error)
    else:
        words = "rows"
    assert words
    (one,) = read_credentials([{"data": data, "iv": iv}], SECRET)
    assert one.problem
    assert one.write_key == ""


def test_prints_no_key() -> None:
    """A credential's key does not show where the credential is printed or listed."""
    (one,) = read_credentials([V2], SECRET)
    assert "SYNTHETIC_WRITE_KEY" not in repr(one) + str(one) + json.dumps(one.describe())
