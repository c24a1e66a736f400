"""Write keys out of the database of a Typebot or QuickBot: rows of its table of credentials, decrypted.

AES-GCM with the 32 characters of ENCRYPTION_SECRET as the key, and two forms of a row. Version 2: `data` is base64 of
ciphertext and tag, `iv` 24 hexadecimal digits. Version 1: `data` is the ciphertext in hexadecimal digits, `iv` is
`<iv>.<tag>` in the same. The plaintext is JSON, `{"apiKey": "<write key>"}` for Segment.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pombo.shared.errors import ConfigurationError

SECRET_BYTES = 32
"""What the platform demands of ENCRYPTION_SECRET, as AES-256 takes it."""
_IV_DIGITS = 24
_LONGEST_IV = 128
"""Bytes of the longest iv that is taken for one; the platforms' have 12, older ones 16."""
_TAG = 16


class Credential(NamedTuple):
    """One row: who it is, and its write key or what is wrong; prints without the key."""

    id: str
    name: str
    version: int
    write_key: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r}, name={self.name!r}, version={self.version})"

    def describe(self) -> dict[str, Any]:
        """The JSON of `quickbot credentials`: no key."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "ok": not self.problem,
            "problem": self.problem or None,
        }


def read_rows(text: bytes) -> list[Mapping[str, Any]]:
    """The rows of a file: one JSON object, a list of them, or one a line.

    Raises:
        ConfigurationError: it is none of these.
    """
    try:
        found = _documents(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the credentials are no JSON ({error.msg}); give rows as objects") from None
    rows = [row for one in found for row in (one if isinstance(one, list) else [one])]
    if not rows or not all(isinstance(row, Mapping) and "data" in row and "iv" in row for row in rows):
        raise ConfigurationError("these are no credentials; give rows as JSON objects with id, type, data and iv")
    return rows


def read_credentials(rows: list[Mapping[str, Any]], secret: str) -> Iterator[Credential]:
    """Decrypt each row that is Segment's.

    Raises:
        ConfigurationError: the secret cannot be a key.
    """
    key = secret.encode("utf-8", "surrogatepass")
    if len(key) != SECRET_BYTES:
        raise ConfigurationError(f"the encryption secret has {len(key)} bytes; ENCRYPTION_SECRET has {SECRET_BYTES}")
    return (_read(row, AESGCM(key)) for row in rows if row.get("type", "segment") == "segment")


def _read(row: Mapping[str, Any], cipher: AESGCM) -> Credential:
    iv, data = str(row["iv"]), str(row["data"])
    version = 2 if len(iv) == _IV_DIGITS else 1
    seen = Credential(str(row.get("id") or ""), str(row.get("name") or ""), version)
    try:
        plain = cipher.decrypt(*(_version_2 if version == 2 else _version_1)(iv, data), None)
        return seen._replace(write_key=_write_key(plain))
    except InvalidTag:
        return seen._replace(problem="it was encrypted with another ENCRYPTION_SECRET, or is damaged")
    except ValueError:
        return seen._replace(problem="it is no encrypted row of this table; see whether data and iv are whole")


def _version_2(iv: str, data: str) -> tuple[bytes, bytes]:
    sealed = base64.b64decode(data, validate=True)
    if len(sealed) < _TAG:
        raise ValueError
    return _unhex(iv), sealed


def _version_1(iv: str, data: str) -> tuple[bytes, bytes]:
    nonce, _, tag = iv.partition(".")
    start, end = _unhex(nonce), _unhex(tag)
    if not 8 <= len(start) <= _LONGEST_IV or len(end) != _TAG:
        raise ValueError
    return start, _unhex(data) + end


def _unhex(text: str) -> bytes:
    return binascii.unhexlify(text.encode())


def _write_key(plain: bytes) -> str:
    held = orjson.loads(plain)
    key = held.get("apiKey") if isinstance(held, dict) else None
    if not isinstance(key, str) or not key:
        raise ValueError
    return key


def _documents(text: bytes) -> list[Any]:
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [orjson.loads(line) for line in lines]
