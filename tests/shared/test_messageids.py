"""messageIds that pombo makes: UUIDs that nobody repeats, and that look alike within a millisecond."""

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from pombo.shared.messageids import new_message_id


def made(count: int) -> list[str]:
    return [new_message_id() for _ in range(count)]


def test_they_are_uuids_of_version_7() -> None:
    """Each is the canonical text of such a UUID."""
    ids = made(1000)

    assert ids == [str(UUID(one)) for one in ids]
    assert {(7, RFC_4122)} == {(UUID(one).version, UUID(one).variant) for one in ids}


def test_no_thread_repeats_another() -> None:
    """However many make them at once, and however many in a millisecond, none comes twice."""
    with ThreadPoolExecutor(8) as threads:
        ids = [one for some in threads.map(made, [5000] * 8) for one in some]

    assert 40_000 == len(set(ids))


def test_they_begin_with_the_time() -> None:
    """Ids sort by the millisecond of their making."""
    first, *_, last = made(5000)

    assert sorted([first[:13], last[:13]]) == [first[:13], last[:13]]


def test_a_forked_child_makes_others() -> None:
    """Parent and child, which fork within a millisecond of an id, share no id."""
    theirs: list[str] = []
    ours: list[str] = []
    for _ in range(5):
        new_message_id()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, ",".join(made(50)).encode())
            os._exit(0)
        ours += made(50)
        os.close(writer)
        with open(reader, encoding="ascii") as pipe:
            theirs += pipe.read().split(",")
        os.waitpid(child, 0)

    assert 500 == len({*ours, *theirs})
