"""Packed tables and histories that would fill the memory are refused; what packs well is read."""

import gzip
import tracemalloc
import zipfile

import pytest

from rmsprop.files import gunzipped
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import load

BOMB = gzip.compress(b"1,2\n" * 2**26)  # 256 MiB in a quarter of one


def refused(function, path):
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{path.name}.*100 times its size"):
        function(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**28


@pytest.mark.parametrize("read", [histories, lambda path: load(path, target="a")], ids=["history", "table"])
def test_gzip(read, tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(BOMB)
    refused(read, path)


@pytest.mark.parametrize("name", ["a.npz", "a.xlsx"])
def test_archives(name, tmp_path):
    pytest.importorskip("fastexcel")
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", bytes(2**27))
    refused(lambda path: load(path, target="y"), path)


def test_what_packs_well_is_read():
    text = b"epoch,loss\n" + b"1,0.5\n" * 2**20
    assert gunzipped(gzip.compress(text)) == text
