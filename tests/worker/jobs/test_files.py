import os
from pathlib import Path

import pytest

from pombo.shared.errors import JobError
from pombo.worker.jobs.files import LONGEST_LINE, MOST_BYTES, Reading


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "a\0b", "a\nb", "x" * 201, "-", "ä"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """Only plain names are taken, whatever lies there."""
    (tmp_path / "secret").write_bytes(b"{}\n")
    folder = tmp_path / "exports"
    folder.mkdir()
    with pytest.raises(JobError, match="is no name of a file"), Reading.of(folder, name):
        pass


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A link is not followed, to wherever it leads."""
    folder = tmp_path / "exports"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"{}\n")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(JobError, match="link"), Reading.of(folder, "link"):
        pass


def test_only_files_are_read(tmp_path: Path) -> None:
    """A folder and a pipe are refused, and the pipe is not waited for; what is missing is named."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(JobError, match="is no file"), Reading.of(tmp_path, name):
            pass
    with pytest.raises(JobError, match=r"none: No such file.*POMBO_EXPORT_DIR"), Reading.of(tmp_path, "none"):
        pass


def test_lines_are_read_from_any_byte(tmp_path: Path) -> None:
    """With the place behind each; the last one may lack its line break."""
    (tmp_path / "f").write_bytes(b"a\r\nbb\n\nccc")
    with Reading.of(tmp_path, "f") as reading:
        assert [(b"a", 3), (b"bb", 6)] == [*map(tuple, reading.lines(0, 2))]
        assert [(b"", 7), (b"ccc", 10)] == [*map(tuple, reading.lines(6, 9))]
        assert [] == reading.lines(10, 9)


def test_no_line_fills_the_memory(tmp_path: Path) -> None:
    """One that no export wrote is passed over to its end; of long ones, fewer are read at once."""
    with (tmp_path / "f").open("wb") as file:
        file.write(b"a\n{")
        file.truncate(2 + LONGEST_LINE + 3)
        file.seek(0, os.SEEK_END)
        file.write(b"\nbb\n" + b"x" * MOST_BYTES + b"\nc")
    long = 2 + LONGEST_LINE + 4
    with Reading.of(tmp_path, "f") as reading:
        assert [(b"a", 2), (b"{", long), (b"bb", long + 3), (b"x" * MOST_BYTES, long + 4 + MOST_BYTES)] == [
            *map(tuple, reading.lines(0, 9))
        ]
        assert [(b"c", long + 5 + MOST_BYTES)] == [*map(tuple, reading.lines(long + 4 + MOST_BYTES, 9))]
