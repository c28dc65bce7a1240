"""cache.py: what is kept is read back to the byte or not at all, and never costs more than it may."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from superfine import cache
from superfine.cache import Store, cache_folder

PARTS = [b"first part", b"", b"\x00\xff" * 20]


def test_parts_come_back_and_other_keys_do_not(tmp_path):
    store = Store(tmp_path / "a" / "b")
    assert store.read("key") is None
    assert store.write("key", PARTS) and store.write("key", PARTS)
    assert store.read("key") == PARTS and store.read("other") is None
    assert [path.name for path in store.folder.iterdir()] == ["key.kept"]


def test_no_flipped_bit_no_missing_and_no_added_byte_is_ever_taken_for_what_was_written(tmp_path):
    store = Store(tmp_path)
    store.write("key", PARTS)
    path = tmp_path / "key.kept"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert store.read("key") is None, place
        path.write_bytes(whole[:place])
        assert store.read("key") is None, place
    path.write_bytes(whole + b"\0")
    assert store.read("key") is None
    assert store.write("key", PARTS) and store.read("key") == PARTS


def test_a_file_under_another_key_is_not_that_key(tmp_path):
    store = Store(tmp_path)
    store.write("key", PARTS)
    shutil.copy(tmp_path / "key.kept", tmp_path / "other.kept")
    assert store.read("other") is None


def test_what_was_used_longest_ago_goes_first_and_strangers_stay(tmp_path):
    store = Store(tmp_path, limit=3500)
    (tmp_path / "a stranger.bin").write_bytes(bytes(9999))
    for number, key in enumerate("abc"):
        store.write(key, [bytes(1000)])
        os.utime(tmp_path / f"{key}.kept", (number, number))
    assert store.size()[0] == 3
    assert store.read("a")  # used: now the youngest
    store.write("d", [bytes(1000)])
    assert sorted(path.stem for path in tmp_path.glob("*.kept")) == ["a", "c", "d"]
    assert store.size()[1] <= 3500 and (tmp_path / "a stranger.bin").exists()
    assert not store.write("large", [bytes(4000)])
    assert store.size()[0] == 3


def test_the_number_of_files_is_limited_too(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_MOST", 2)
    store = Store(tmp_path)
    for number, key in enumerate("abc"):
        store.write(key, [b"small"])
        os.utime(tmp_path / f"{key}.kept", (number, number))
    assert sorted(path.stem for path in tmp_path.glob("*.kept")) == ["b", "c"]


def test_half_written_files_of_killed_processes_go_and_those_being_written_stay(tmp_path):
    old, new = tmp_path / ".x.kept.1.part", tmp_path / ".y.kept.2.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Store(tmp_path).write("key", PARTS)
    assert new.exists() and not old.exists()


def test_a_folder_that_cannot_be_had_keeps_nothing_and_says_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = Store(folder)
        assert not store.write("key", PARTS) and store.read("key") is None and store.size() == (0, 0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_keeps_nothing_and_says_nothing(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert not Store(tmp_path).write("key", PARTS)
    finally:
        tmp_path.chmod(0o700)


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path):
    code = "import resource, signal, sys; from pathlib import Path; from superfine.cache import Store\n"
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    code += "print(Store(Path(sys.argv[1])).write('key', [bytes(100_000)]))"
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_a_disk_is_left_to_the_users_results(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    assert not Store(tmp_path).write("key", PARTS) and list(tmp_path.iterdir()) == []


HAMMER = """
import sys
from pathlib import Path
from superfine.cache import Store
store = Store(Path(sys.argv[1]), limit=200_000)
hits = 0
for turn in range(60):
    for name in "abcd":
        wanted = [name.encode() * 30_000, b"end"]
        found = store.read(name)
        assert found in (None, wanted)
        hits += found is not None
        if found is None or turn % 3 == 0:
            store.write(name, wanted)
print(hits)
"""


def test_processes_at_once_read_what_was_written_or_nothing(tmp_path):
    """Four files of 30 kB, a limit of 200: then with a limit that drops one at each write."""
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / folder)], stdout=subprocess.PIPE, text=True)
        for folder, code in (("wide", HAMMER), ("tight", HAMMER.replace("200_000", "100_000")))
        for _ in range(3)
    ]
    for run in runs:
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0 and int(out) > 0
    assert Store(tmp_path / "wide").size()[0] == 4
    assert Store(tmp_path / "tight").size()[0] <= 4 and not list(tmp_path.glob("*/.*"))


def test_the_folder_is_the_one_named_or_the_systems_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERFINE_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    for word in ("off", "OFF", "0"):
        monkeypatch.setenv("SUPERFINE_CACHE", word)
        assert cache_folder() is None and cache.graph_store() is None
    monkeypatch.delenv("SUPERFINE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "superfine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "superfine"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "superfine"
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert cache_folder() is None


def test_the_tests_keep_out_of_the_users_own_folder():
    folder = cache_folder()
    assert folder is not None and Path.home() not in folder.parents
