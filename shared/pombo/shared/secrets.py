"""Write keys at rest: encrypted and looked up under secrets that can be rotated.

A secret of `POMBO_SECRET_KEY` is never used as it is: HKDF derives from it one key that encrypts and another
that hashes for the lookup. Several secrets may be in force: the newest writes, every one of them reads.
Producers must not import this module: it needs `cryptography`, which a bot does not have.
"""

import base64
import hashlib
import hmac
import os
import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pombo.shared.errors import ConfigurationError, StoredVersionError
from pombo.shared.settings import Settings

SECRET_PREFIX = "pbs_"  # noqa: S105 -- what tells a secret from other strings
SECRET_FILE = "secret.key"  # noqa: S105 -- a name
"""File under POMBO_HOME that holds what `POMBO_SECRET_KEY` would."""
MIN_LENGTH = 32
"""Characters below which a secret is refused: too few to hold 256 bits in any usual alphabet."""

_ENCRYPTION = b"pombo/encryption/1"
_LOOKUP = b"pombo/lookup/1"


def new_secret() -> str:
    """Make a secret of 256 random bits, fit for `POMBO_SECRET_KEY`."""
    return SECRET_PREFIX + randomness.token_urlsafe(32)


class Secrets:
    """The secrets in force, newest first; prints without showing any."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        for number, secret in enumerate(secret_keys, 1):
            _check(secret, number)
        if not secret_keys:
            raise ConfigurationError("POMBO_SECRET_KEY is empty; `pombo secret` makes one")
        self._fernets = [Fernet(base64.urlsafe_b64encode(_derive(key, _ENCRYPTION))) for key in secret_keys]
        self._hash_keys = [_derive(key, _LOOKUP) for key in secret_keys]

    def __repr__(self) -> str:
        return f"Secrets(<{len(self._fernets)}>)"

    def derive(self, purpose: bytes) -> bytes:
        """32 bytes of the newest secret's for another purpose, from which nobody finds the secret."""
        return _derive(self._hash_keys[0].hex(), purpose)

    def encrypt(self, text: str) -> str:
        """Encrypt with the newest secret."""
        return self._fernets[0].encrypt(text.encode()).decode()

    def decrypt(self, token: str, *, what: str = "a stored key") -> str:
        """Decrypt what any of the secrets encrypted.

        Raises:
            ConfigurationError: none of them did; the message calls the token `what`.
        """
        try:
            return MultiFernet(self._fernets).decrypt(token).decode()
        except InvalidToken:
            raise ConfigurationError(
                f"{what} cannot be decrypted with POMBO_SECRET_KEY: it was encrypted with another secret; "
                "restore the old secret (comma-separated, newest first)"
            ) from None

    def is_newest(self, token: str) -> bool:
        """Whether the newest secret encrypted this token."""
        try:
            self._fernets[0].decrypt(token)
        except InvalidToken:
            return False
        return True

    def lookup_hashes(self, key: str) -> list[str]:
        """The keyed hash of a write or intake key under each secret, newest first."""
        return self.hashes_of_digest(digest(key))

    def hashes_of_digest(self, key_digest: str) -> list[str]:
        """Like `lookup_hashes`, from the `digest` of the key: HMAC-SHA256 in hex."""
        return [hmac.new(key, key_digest.encode(), hashlib.sha256).hexdigest() for key in self._hash_keys]


def new_id_key() -> str:
    """Make a source's id key: 256 random bits in hex."""
    return randomness.token_hex(32)


def digest(key: str) -> str:
    """SHA-256 in hex: stands for an intake key where the key itself must not be kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _check(secret: str, number: int) -> None:
    if len(secret) < MIN_LENGTH:
        raise ConfigurationError(
            f"secret {number} of POMBO_SECRET_KEY has {len(secret)} characters, {MIN_LENGTH} are the least; "
            "`pombo secret` makes one"
        )


def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(secret.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class SealedKeys:
    """The keys of one source as the registry stores them: of no use without a secret.

    The intake key itself is nowhere. Its digest is kept encrypted, so that its lookup hash can be made anew
    when the secret changes; nobody can compute the key from the digest, as it is 256 random bits.

    The id key makes hashed ids of people and messages. It is no secret of `POMBO_SECRET_KEY`'s, and nothing derived
    from one, because those rotate, and a person's id must not.
    """

    write_key: str
    write_hash: str
    intake_digest: str
    intake_hash: str
    id_key: str = ""
    """Empty where none was made yet: a source that an older pombo added."""

    @classmethod
    def seal(cls, secrets: Secrets, write_key: str, intake_digest: str, id_key: str = "") -> Self:
        """Encrypt and hash the keys with the newest secret; `id_key` as `new_id_key` makes it."""
        return cls(
            write_key=secrets.encrypt(write_key),
            write_hash=secrets.lookup_hashes(write_key)[0],
            intake_digest=secrets.encrypt(intake_digest),
            intake_hash=secrets.hashes_of_digest(intake_digest)[0],
            id_key=secrets.encrypt(id_key) if id_key else "",
        )

    def resealed(self, secrets: Secrets, name: str) -> Self:
        """The same keys under the newest secret; `self` when they are already."""
        if all(map(secrets.is_newest, filter(None, (self.write_key, self.intake_digest, self.id_key)))):
            return self
        write_key = secrets.decrypt(self.write_key, what=f"the write key of source {name!r}")
        intake = secrets.decrypt(self.intake_digest, what=f"the intake key of source {name!r}")
        return self.seal(secrets, write_key, intake, self.open_id_key(secrets, name))

    def open_id_key(self, secrets: Secrets, name: str) -> str:
        """The id key in clear, "" when none was made yet.

        Raises:
            ConfigurationError: it was encrypted with another secret.
        """
        return secrets.decrypt(self.id_key, what=f"the id key of source {name!r}") if self.id_key else ""

    def dump(self) -> bytes:
        """The JSON stored in the registry."""
        return orjson.dumps({"v": 1, **{field: getattr(self, field) for field in self.__slots__}})

    @classmethod
    def load(cls, name: str, stored: bytes) -> Self:
        """Read what `dump` wrote.

        Raises:
            StoredVersionError: another version of pombo wrote it; it is left as it is.
        """
        try:
            fields = orjson.loads(stored)
            if fields.pop("v") != 1:
                raise ValueError
            return cls(**{field: fields[field] for field in cls.__slots__ if field in fields or field != "id_key"})
        except (ValueError, KeyError, AttributeError, TypeError):
            raise StoredVersionError(
                f"the keys of source {name!r} were stored in a form that this pombo cannot read; "
                "upgrade pombo here, they are left as they are"
            ) from None


def load_secrets(settings: Settings) -> Secrets:
    """The secrets in force: `POMBO_SECRET_KEY`, or with the embedded server the file under `POMBO_HOME`.

    Raises:
        ConfigurationError: there is none, or one cannot be used; the message says what to do.
    """
    if settings.secret_key is not None:
        return Secrets(_split(settings.secret_key.get_secret_value()))
    if settings.redis_url is not None:
        raise ConfigurationError(
            "POMBO_SECRET_KEY is not set, and with POMBO_REDIS_URL it must be; `pombo secret` makes one, "
            "every worker, gateway and console needs the same"
        )
    path = settings.home_dir / SECRET_FILE
    try:
        return Secrets(_split(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigurationError(
            f"POMBO_SECRET_KEY is not set and {path} cannot be read ({error.strerror}); "
            "`pombo up` makes that file, or set POMBO_SECRET_KEY"
        ) from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _split(text: str) -> list[str]:
    return [secret.strip() for secret in text.split(",") if secret.strip()]


def ensure_secret_file(home: Path) -> Path:
    """Make `secret.key` in `home` with a new secret, mode 600, unless it is there; return its path.

    A complete file appears under its name at once, by a hard link, so that of two processes one wins and both
    read the same secret. It is on disk before anything can be encrypted with it.

    Raises:
        ConfigurationError: `home` cannot hold the file.
    """
    path = home / SECRET_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _publish(path, new_secret() + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be made ({error.strerror}); set POMBO_HOME to a folder that can be written, "
            "or set POMBO_SECRET_KEY"
        ) from None
    return path


def _publish(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{randomness.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
