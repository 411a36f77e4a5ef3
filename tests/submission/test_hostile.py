"""Files that mean harm: refused with one sentence, nothing written, nothing loaded, no memory eaten."""

from __future__ import annotations

import io
import pickle
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from forge import forged, parquet

from harness.errors import HarnessError
from harness.store import SCORES
from harness.submission import archive, contents
from harness.submission.verify import verify


def written(tmp_path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return tmp_path / "hostile.zip"


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "records/../x",
        "source/../../x.py",
        "source//x.py",
        "source/.hidden",
        "records/0123456789abcdef0123/extra.bin",
        "records/0123456789ABCDEF0123/record.json",
        "source/a\\b.py",
        "x\n",
    ],
)
def test_a_name_that_has_no_place_is_refused_before_anything_is_read(tmp_path, name):
    with pytest.raises(HarnessError, match="has no place in a submission; nothing was read"):
        archive.read(written(tmp_path, {name: b"x"}))
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_zip_bomb_is_refused_because_members_are_never_compressed(tmp_path):
    bomb = written(tmp_path, {"protocol.json": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(HarnessError, match="is compressed, which `harness pack` never does"):
        archive.read(bomb)


def test_a_member_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("protocol.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("protocol.json", "{}")
    with pytest.raises(HarnessError, match="is there twice"):
        archive.read(tmp_path / "twice.zip")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(HarnessError, match="4 members, more than 3"):
        archive.read(written(tmp_path, {f"source/m{i}.py": b"" for i in range(4)}))


def test_a_file_that_is_too_large_is_not_opened(world, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 10)
    with pytest.raises(HarnessError, match="larger than 0 MiB; a submission holds one method"):
        archive.read(world.file)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip" * 100])
def test_what_is_no_zip_is_said_so(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(HarnessError, match=r"x.zip: not a zip, or damaged"):
        archive.read(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"{", b'{"schema_version": 2}', b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_a_manifest_that_does_not_fit_is_one_sentence(tmp_path, manifest):
    with pytest.raises(HarnessError, match=r"manifest.json") as caught:
        archive.read(written(tmp_path, {"manifest.json": manifest}))
    assert "\n" not in str(caught.value)


class Shell:
    """Unpickling this runs it."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle was loaded')",))


def npz(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


SAMPLES = ("a", "b")
NAMES = npy(np.array(SAMPLES))
OTHERS = npy(np.array(("a", "c")))
WIDE = np.zeros((2, 16, 17), np.uint8)
NINES = npy(np.full((2, 16, 16), 9, np.uint8))
LABELS = npy(np.zeros((2, 16, 16), np.uint8))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"samples.npy": npy(np.array([Shell()], object)), "labels.npy": LABELS}, "pickled Python objects"),
        ({"samples.npy": NAMES, "labels.npy": npy(np.array([Shell()], object))}, "pickled Python objects"),
        ({"samples.npy": NAMES, "labels.npy": bytes(64 << 20)}, "unpacks to more than"),
        ({"samples.npy": NAMES, "labels.npy": header((10**12, 16, 16))}, "which its bytes do not fill"),
        ({"samples.npy": NAMES, "labels.npy": pickle.dumps(Shell())}, "cannot be read"),
        ({"samples.npy": NAMES, "labels.npy": npy(WIDE)}, "labels are uint8 (2, 16, 17)"),
        ({"samples.npy": NAMES, "labels.npy": npy(WIDE.astype(float))}, "labels are float64"),
        ({"samples.npy": NAMES, "labels.npy": NINES}, "label 9 where"),
        ({"samples.npy": OTHERS, "labels.npy": LABELS}, "not the test samples in their order"),
        ({"samples.npy": NAMES}, "not samples and labels"),
        ({"samples.npy": NAMES, "labels.npy": LABELS, "more.npy": LABELS}, "not samples and labels"),
    ],
)
def test_predictions_that_are_no_label_maps_are_refused(members, message):
    with pytest.raises(HarnessError, match=re.escape(message)):
        contents.parse_predictions(npz(members), SAMPLES, 16, 3)


def test_well_formed_predictions_are_read():
    labels = contents.parse_predictions(npz({"samples.npy": NAMES, "labels.npy": LABELS}), SAMPLES, 16, 3)
    assert labels.shape == (2, 16, 16)


def test_a_pickle_among_the_predictions_fails_the_verification(world):
    evil = npz({"samples.npy": npy(np.array([Shell()], object)), "labels.npy": LABELS})
    (finding,) = verify(forged(world.submission, predictions=lambda _: evil), world.yardstick).failed
    assert finding.what == "schema"
    assert "pickled Python objects" in finding.why


@pytest.mark.parametrize("data", [b"", b"PAR1 nothing PAR1", b"epoch,loss\n"])
def test_scores_and_curves_that_are_none_are_one_sentence(data):
    for parse in (lambda: contents.parse_scores(data, SAMPLES, ("cup",)), lambda: contents.parse_curve(data)):
        with pytest.raises(HarnessError) as caught:
            parse()
        assert "\n" not in str(caught.value)


def scores(**changes) -> bytes:
    columns = {"sample": list(SAMPLES), "structure": "cup", "missed": False, "vcdr_error": np.nan}
    return parquet(pd.DataFrame(dict.fromkeys(SCORES, 0.5) | columns | changes))


def test_scores_that_can_be_are_read():
    frame = contents.parse_scores(scores(hd95=[0.0, 300.0], nsd=[0, 1]), SAMPLES, ("cup",))
    assert list(frame["sample"]) == list(SAMPLES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dice": [0.5, 7.5]}, "dice of b cup is 7.5, not a number from 0 to 1"),
        ({"iou": [np.nan, 0.5]}, "iou of a cup is nan, not a number from 0 to 1"),
        ({"nsd": [-0.1, 0.5]}, "nsd of a cup is -0.1, not a number from 0 to 1"),
        ({"hd95": [1.0, np.inf]}, "hd95 of b cup is inf, not a finite number from 0"),
        ({"asd": [-1.0, 1.0]}, "asd of a cup is -1, not a finite number from 0"),
        ({"vcdr_error": [np.inf, np.nan]}, "vcdr_error of a cup is inf"),
        ({"missed": [None, True]}, "column missed has missing values"),
        ({"sample": ["a", "zz"]}, "not one for each test sample and structure, in order"),
        ({"sample": ["b", "a"]}, "not one for each test sample and structure, in order"),
        ({"structure": "lens"}, "not one for each test sample and structure, in order"),
    ],
)
def test_scores_that_cannot_be_are_refused_with_their_place(changes, message):
    with pytest.raises(HarnessError, match=re.escape(message)):
        contents.parse_scores(scores(**changes), SAMPLES, ("cup",))


def test_a_curve_with_nan_is_refused():
    with pytest.raises(HarnessError, match="a value is not finite"):
        contents.parse_curve(b"epoch,quantity,attribute,group,value\n0,loss,,,nan\n")
