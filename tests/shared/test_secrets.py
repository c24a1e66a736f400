import threading
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from pombo.shared.errors import ConfigurationError, StoredVersionError
from pombo.shared.secrets import SealedKeys, Secrets, digest, ensure_secret_file, load_secrets, new_secret
from pombo.shared.settings import Settings

OLD, NEW = new_secret(), new_secret()


def settings(home: Path, *, secret_key: str | None = None, redis_url: str | None = None) -> Settings:
    key = None if secret_key is None else SecretStr(secret_key)
    return Settings(home=home, secret_key=key, redis_url=redis_url)


def test_new_secrets_differ() -> None:
    """Every new secret is another one, and one that `Secrets` takes."""
    made = {new_secret() for _ in range(50)}

    assert 50 == len(made)
    assert all(secret.startswith("pbs_") and len(secret) == 47 for secret in made)
    assert "Secrets(<50>)" == repr(Secrets([*made]))


def test_round_trip() -> None:
    """What was encrypted is decrypted, and two encryptions of one text look different."""
    secrets = Secrets([NEW])

    tokens = [secrets.encrypt("clé"), secrets.encrypt("clé")]

    assert ["clé", "clé"] == [secrets.decrypt(token) for token in tokens]
    assert 2 == len(set(tokens))


def test_rotation_reads_the_old_and_writes_the_new() -> None:
    """With both secrets in force, old tokens are read and new ones need the newest secret alone."""
    old, both, new = Secrets([OLD]), Secrets([NEW, OLD]), Secrets([NEW])

    assert "text" == both.decrypt(old.encrypt("text"))
    assert "text" == new.decrypt(both.encrypt("text"))
    assert [False, True] == [both.is_newest(maker.encrypt("text")) for maker in (old, both)]


def test_lost_secret_says_what_to_do() -> None:
    """A token of a secret that is gone names the variable and the way back, and no secret."""
    token = Secrets([OLD]).encrypt("text")

    with pytest.raises(ConfigurationError) as caught:
        Secrets([NEW]).decrypt(token, what="the write key of source 'bot'")

    assert (
        "the write key of source 'bot' cannot be decrypted with POMBO_SECRET_KEY: it was encrypted with "
        "another secret; restore the old secret (comma-separated, newest first)"
    ) == str(caught.value)
    assert caught.value.__suppress_context__


def test_lookup_hashes_follow_the_secrets() -> None:
    """A key has one hash a secret, newest first, and no two secrets or keys share one."""
    both = Secrets([NEW, OLD])

    hashes = both.lookup_hashes("key")

    assert Secrets([NEW]).lookup_hashes("key") + Secrets([OLD]).lookup_hashes("key") == hashes
    assert 4 == len({*hashes, *both.lookup_hashes("other")})
    assert all(len(found) == 64 for found in hashes)


def test_lookup_hashes_come_from_the_digest_too() -> None:
    """An intake key's digest is enough to hash it anew."""
    secrets = Secrets([NEW, OLD])

    assert secrets.lookup_hashes("key") == secrets.hashes_of_digest(digest("key"))


def test_any_key_can_be_looked_up() -> None:
    """A key out of a broken request, with a lone surrogate, is hashed and not refused."""
    assert 1 == len(Secrets([NEW]).lookup_hashes("\ud800"))


@pytest.mark.parametrize("given", [[], ["short"], [NEW, "x" * 31]])
def test_weak_secrets_are_refused(given: list[str]) -> None:
    """No secret, or one under 32 characters, is refused without being shown."""
    with pytest.raises(ConfigurationError, match="`pombo secret` makes one") as caught:
        Secrets(given)

    assert not any(secret in str(caught.value) for secret in given)


def test_secrets_print_nothing() -> None:
    """Neither repr nor str shows a secret or what was derived from it."""
    secrets = Secrets([NEW, OLD])

    assert ["Secrets(<2>)"] * 3 == [repr(secrets), str(secrets), f"{secrets}"]


def test_sealed_keys_survive_storage() -> None:
    """Sealed keys come back from JSON as they went."""
    sealed = SealedKeys.seal(Secrets([NEW]), "key", digest("intake"), "id key")

    assert sealed == SealedKeys.load("bot", sealed.dump())
    assert "id key" == sealed.open_id_key(Secrets([NEW]), "bot")


def test_sealed_keys_of_an_older_pombo_have_no_id_key() -> None:
    """What was stored before there were id keys is read, and says that none was made."""
    fields = orjson.loads(SealedKeys.seal(Secrets([NEW]), "key", digest("intake"), "id key").dump())
    del fields["id_key"]

    sealed = SealedKeys.load("bot", orjson.dumps(fields))

    assert ("", "") == (sealed.id_key, sealed.open_id_key(Secrets([NEW]), "bot"))
    assert "" == sealed.resealed(Secrets(["another-secret-" * 3, NEW]), "bot").id_key


@pytest.mark.parametrize("stored", [b'{"v":2,"write_key":"x"}', b'{"v":1}', b"[]", b"no json", b""])
def test_unknown_sealed_keys_are_left_alone(stored: bytes) -> None:
    """Sealed keys of another version are reported as such."""
    with pytest.raises(StoredVersionError, match=r"'bot'.*upgrade pombo"):
        SealedKeys.load("bot", stored)


def test_resealing_stops_at_the_newest() -> None:
    """Sealed keys are made anew under the newest secret once, then stay as they are."""
    sealed = SealedKeys.seal(Secrets([OLD]), "key", digest("intake"))
    both, new = Secrets([NEW, OLD]), Secrets([NEW])

    again = sealed.resealed(both, "bot")

    assert again is again.resealed(both, "bot")
    assert new.lookup_hashes("key") + new.lookup_hashes("intake") == [again.write_hash, again.intake_hash]
    assert "key" == new.decrypt(again.write_key)


def test_setting_gives_the_secrets(tmp_path: Path) -> None:
    """`POMBO_SECRET_KEY` is split at commas, newest first, spaces and empty parts aside."""
    secrets = load_secrets(settings(tmp_path, secret_key=f" {NEW}, {OLD},"))

    assert "text" == Secrets([NEW]).decrypt(secrets.encrypt("text"))
    assert "Secrets(<2>)" == repr(secrets)


def test_file_gives_the_secrets(tmp_path: Path) -> None:
    """Without the setting, the embedded server's home has the secret."""
    path = ensure_secret_file(tmp_path)

    secrets = load_secrets(settings(tmp_path))

    assert "text" == Secrets([path.read_text().strip()]).decrypt(secrets.encrypt("text"))


def test_external_redis_needs_the_setting(tmp_path: Path) -> None:
    """With a Redis of one's own the file is not used: other machines would not have it."""
    ensure_secret_file(tmp_path)

    with pytest.raises(ConfigurationError, match=r"POMBO_SECRET_KEY is not set.*`pombo secret` makes one"):
        load_secrets(settings(tmp_path, redis_url="redis://localhost"))


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Without setting and file the message names both ways."""
    with pytest.raises(ConfigurationError, match=r"secret\.key cannot be read.*`pombo up`.*POMBO_SECRET_KEY"):
        load_secrets(settings(tmp_path))


def test_damaged_file_is_named(tmp_path: Path) -> None:
    """A file without a usable secret is named in the message."""
    (tmp_path / "secret.key").write_text("\n")

    with pytest.raises(ConfigurationError, match=r"secret\.key: POMBO_SECRET_KEY is empty"):
        load_secrets(settings(tmp_path))


def test_secret_file_is_private(tmp_path: Path) -> None:
    """The file has mode 600 in a folder of mode 700, and nothing else is left in there."""
    path = ensure_secret_file(tmp_path / "new" / "home")

    assert 0o600 == path.stat().st_mode & 0o777
    assert 0o700 == path.parent.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_secret_file_is_kept(tmp_path: Path) -> None:
    """A second call leaves the secret as it is."""
    first = ensure_secret_file(tmp_path).read_text()

    assert first == ensure_secret_file(tmp_path).read_text()


def test_racing_processes_agree(tmp_path: Path) -> None:
    """Of many that make the file at once, all read the same complete secret."""
    start, seen = threading.Barrier(8), []

    def race() -> None:
        start.wait()
        seen.append(ensure_secret_file(tmp_path).read_text())

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [seen[0]] * 8 == seen
    assert 47 == len(seen[0].strip())
    assert [tmp_path / "secret.key"] == list(tmp_path.iterdir())


def test_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A home under a file is refused with a way out."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"secret\.key cannot be made.*POMBO_HOME"):
        ensure_secret_file(tmp_path / "file" / "home")


def test_what_is_derived_is_of_one_secret_and_one_purpose() -> None:
    """Other purposes and other secrets have other bytes, and a rotation ends what the old secret's were for."""
    old, new = new_secret(), new_secret()
    derived = {Secrets([old]).derive(b"a"), Secrets([old]).derive(b"b"), Secrets([new]).derive(b"a")}
    assert (3, {32}) == (len(derived), {len(one) for one in derived})
    assert Secrets([new]).derive(b"a") == Secrets([new, old]).derive(b"a")
