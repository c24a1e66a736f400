import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pombo.shared.errors import JobError
from pombo.worker.jobs.drafts import LEFT_S, Draft, sweep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "letters.ndjson"


@pytest.fixture
def draft(path: Path) -> Iterator[Draft]:
    with closing(Draft(path)) as draft:
        yield draft


def left(folder: Path) -> list[str]:
    """Names in a folder, those of halves as `part`."""
    return sorted("part" if one.name.endswith(".part") else one.name for one in folder.iterdir())


def test_it_holds_what_was_written_and_nothing_behind(draft: Draft, path: Path) -> None:
    """Each write says from where on; only then the name is there, for its owner alone, and no half is left."""
    assert 6 == draft.write(b"second", draft.write(b"first!", 0) - 6)
    assert 8 == draft.write(b"nd", 6)
    assert not path.exists()
    assert path == draft.publish(8)
    assert (b"secondnd", 0o600) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert [path.name] == left(path.parent)


def test_it_is_published_as_it_was_noted(draft: Draft, path: Path) -> None:
    """What was written behind that is cut off, half a line or more."""
    draft.write(b"noted\nhalf a li", 0)
    draft.publish(6)
    assert b"noted\n" == path.read_bytes()


def test_whoever_was_cut_off_behind_the_name_publishes_again(draft: Draft, path: Path) -> None:
    """Before the other name was taken away, and after that; it is the same file then, and the only one."""
    draft.write(b"all of it", 0)
    os.link(draft.beside, path)
    assert path == draft.publish(9)
    assert [path.name] == left(path.parent)
    assert path == draft.publish(9)
    assert b"all of it" == path.read_bytes()


def test_it_takes_no_other_files_place(draft: Draft, path: Path) -> None:
    """As when an older state of Redis came back, which knows nothing of a file whose letters were discarded since."""
    path.write_bytes(b"the only copy")
    path.with_name("letters-2.ndjson").write_bytes(b"another one")
    draft.write(b"what is left", 0)
    assert path.with_name("letters-3.ndjson") == draft.publish(12)
    assert (b"the only copy", b"what is left") == (
        path.read_bytes(), path.with_name("letters-3.ndjson").read_bytes(),
    )  # fmt: skip


def test_the_next_run_goes_on_with_the_same_file(draft: Draft, path: Path) -> None:
    """When the one before is over: nothing is copied."""
    draft.write(b"one two", 0)
    inode = draft.beside.stat().st_ino
    draft.close()
    with closing(Draft(path)) as later:
        assert later.take_over(draft.name, 4)
        assert draft.name == later.name
        later.write(b"three", 4)
        later.publish(9)
    assert (b"one three", inode) == (path.read_bytes(), path.stat().st_ino)


def test_a_run_that_lives_on_writes_nothing_into_the_next_ones_file(draft: Draft, path: Path) -> None:
    """That goes on with a copy, of what was noted; whatever the other does, the file is its own."""
    draft.write(b"one two", 0)
    with closing(Draft(path)) as later:
        assert later.take_over(draft.name, 4)
        assert draft.name != later.name
        later.write(b"three", 4)
        draft.write(b"zombie", 0)
        later.publish(9)
        draft.write(b"two, too", 4)
    draft.drop()
    assert b"one three" == path.read_bytes()
    assert [path.name] == left(path.parent)


def test_two_runs_that_publish_the_same_make_one_file(draft: Draft, path: Path) -> None:
    """Both were about to when one was believed dead."""
    draft.write(b"one two", 0)
    with closing(Draft(path)) as later:
        assert later.take_over(draft.name, 7)
        assert [path, path] == [draft.publish(7), later.publish(7)]
    assert [path.name] == left(path.parent)


def test_what_is_not_there_is_not_taken_over(draft: Draft, path: Path) -> None:
    """As on another machine, or when less is there than was noted."""
    assert not draft.take_over(".letters.ndjson.part", 0)
    path.with_name(".letters.ndjson.part").write_bytes(b"1234")
    assert not draft.take_over(".letters.ndjson.part", 5)
    assert draft.take_over(".letters.ndjson.part", 4)


def test_it_follows_no_link(draft: Draft, path: Path) -> None:
    """Whoever may write into the folder cannot have a file elsewhere overwritten."""
    precious = path.with_name("precious")
    precious.write_bytes(b"kept")
    path.with_name(".x.part").symlink_to(precious)
    assert not draft.take_over(".x.part", 0)
    draft.beside.symlink_to(precious)
    with pytest.raises(JobError, match="POMBO_EXPORT_DIR"):
        draft.write(b"x", 0)
    assert b"kept" == precious.read_bytes()


def test_a_half_that_somebody_deleted_gets_no_name(draft: Draft, path: Path) -> None:
    """What would be there of it nobody knows."""
    draft.write(b"one two", 0)
    draft.beside.unlink()
    with pytest.raises(JobError, match="POMBO_EXPORT_DIR"):
        draft.publish(7)
    assert [] == left(path.parent)


def test_halves_that_nobody_goes_on_with_are_swept(draft: Draft, path: Path) -> None:
    """After a good week; what is young, and what is no half, stays."""
    draft.write(b"young", 0)
    path.write_bytes(b"whole")
    old, long_ago = path.with_name(".old.ndjson.1a2b.part"), time.time() - LEFT_S - 60
    old.write_bytes(b"people's data")
    for one in (old, path):
        os.utime(one, (long_ago, long_ago))
    sweep(path.parent)
    sweep(path.parent / "none")
    assert [path.name, "part"] == left(path.parent)
