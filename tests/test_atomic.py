"""atomic.py: a file under its name is whole, the old one or the new one, whatever happens while it is written."""

import os
import signal
import subprocess
import sys

import pytest

from superfine.atomic import replace_file, whole_file


def test_the_name_is_taken_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with whole_file(path, flush=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_block_early_the_old_file_stands_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_the_systems_error_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "no" / "a.bin", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OSError):
            replace_file(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = "import os, sys, signal, pathlib\nfrom superfine.atomic import whole_file\n"
    code += "with whole_file(pathlib.Path(sys.argv[1])) as file:\n    file.write(b'half'); file.flush()\n"
    code += "    os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_permissions_are_the_users_usual_ones(tmp_path):
    old = os.umask(0o027)
    try:
        replace_file(tmp_path / "a.bin", b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640
