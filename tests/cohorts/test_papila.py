"""PAPILA: fetched from a server that this test runs, laid out from files in its format, read as a folder."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import openpyxl
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from harness import protocol
from harness.cohorts import fetching, load
from harness.commands.data import data_group
from harness.errors import HarnessError
from harness.store import files

TOP = "PapilaDB-PAPILA-17f8fa7746adb20275b5b6a0d99dc9dfe3007e9f"
PATIENTS = 24
SIDE = (96, 72)


def table(rows) -> bytes:
    """A table as PAPILA's: titles over three lines, then a line a patient."""
    book = openpyxl.Workbook()
    book.active.append([None, "Age", "Gender", "Diagnosis", "Refractive_Defect"])
    book.active.append(["ID", None, None, None, "dioptre_1"])
    book.active.append([None] * 5)
    for row in rows:
        book.active.append(row)
    packed = io.BytesIO()
    book.save(packed)
    return packed.getvalue()


def circle(x, y, radius) -> str:
    turn = np.linspace(0, 2 * np.pi, 40)
    return "\n".join(
        f"{a:.6e} {b:.6e}" for a, b in zip(x + radius * np.cos(turn), y + radius * np.sin(turn), strict=True)
    )


def archive(patients=PATIENTS, left_out="", contour=None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for eye in ("od", "os"):
            rows = [
                (f"#{i:03d}", 40 + 2 * i if i != 3 else None, i % 2, i % 3, 0.5)
                for i in range(1, patients + 1)
            ]
            file.writestr(f"{TOP}/ClinicalData/patient_data_{eye}.xlsx", table(rows))
            for i in range(1, patients + 1):
                name, image = f"RET{i:03d}{eye.upper()}", io.BytesIO()
                Image.new("RGB", SIDE, (90, 40 + i, 20)).save(image, "jpeg")
                file.writestr(f"{TOP}/FundusImages/{name}.jpg", image.getvalue())
                for part, radius in (("disc", 20), ("cup", 9)):
                    for expert in ("exp1", "exp2"):
                        where = f"{TOP}/ExpertsSegmentations/Contours/{name}_{part}_{expert}.txt"
                        if left_out not in where or not left_out:
                            file.writestr(where, contour or circle(50, 30, radius))
    return packed.getvalue()


@pytest.fixture(scope="module")
def packed() -> bytes:
    return archive()


@pytest.fixture
def known(monkeypatch, packed):
    """PAPILA as the archive of this test: of the real one only its SHA-256 is known here."""
    own = replace(fetching.DATASETS["papila"], sha256=hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(fetching.DATASETS, "papila", own)


class Server:
    """Serves one file, breaks off after `most` bytes, and remembers which ranges were asked for."""

    def __init__(self, content: bytes, status: int = 200) -> None:
        asked, outer = self.asked, self = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.headers.get("Range"))
                if status != 200:
                    self.send_error(status)
                    return
                start = int(asked[-1].removeprefix("bytes=").rstrip("-")) if asked[-1] else 0
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : start + outer.most])

            def log_message(self, *_):
                pass

        self.asked, self.most = asked, len(content)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/papila.zip"


@pytest.fixture
def serve():
    made = []

    def start(content, **options):
        made.append(Server(content, **options))
        return made[-1]

    yield start
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def test_what_is_fetched_is_a_cohort_with_sex_and_age(known, packed, serve, tmp_path):
    folder = fetching.fetch("papila", tmp_path / "papila", serve(packed).address)
    chosen = protocol.load("papila")
    small = chosen.model_copy(update={"cohort": chosen.cohort.model_copy(update={"size": 64})})
    cohort = load(small, folder, tmp_path / "cache")
    assert len(cohort.subjects) == 2 * PATIENTS
    assert cohort.subjects["patient"].nunique() == PATIENTS
    assert cohort.groups["gender"] == ("female", "male")
    by_id = cohort.subjects.set_index("sample")
    # The tables' 0 is male and 1 female; patient 3 has no age.
    assert (by_id.loc["RET002OD", "gender"], by_id.loc["RET003OS", "gender"]) == ("male", "female")
    assert pd.isna(by_id.loc["RET003OD", "age"])
    assert by_id.loc["RET024OS", "age"] == ">=65"
    # Both eyes of a patient are on one side of the split.
    assert (by_id.groupby("patient")["split"].nunique() == 1).all()


def test_a_mask_is_the_first_experts_cup_within_his_disc(known, packed, tmp_path):
    (tmp_path / "given.zip").write_bytes(packed)
    folder = fetching.fetch("papila", tmp_path / "papila", str(tmp_path / "given.zip"))
    labels = np.array(Image.open(folder / "RET001OD_mask.png"))
    assert labels.shape == SIDE[::-1]
    y, x = np.mgrid[: SIDE[1], : SIDE[0]]
    away = np.hypot(x - 50, y - 30)
    assert (labels[away < 8] == 2).all()
    assert (labels[(away > 11) & (away < 18)] == 1).all()
    assert (labels[away > 22] == 0).all()
    assert (tmp_path / "given.zip").is_file()


def test_a_download_that_breaks_goes_on_from_where_it_was(known, packed, serve, tmp_path):
    server = serve(packed)
    server.most = 10_000
    for _ in range(2):
        with pytest.raises(HarnessError, match="run the command again and it goes on from there"):
            fetching.fetch("papila", tmp_path / "papila", server.address)
    assert not (tmp_path / "papila").exists()
    server.most = len(packed)
    fetching.fetch("papila", tmp_path / "papila", server.address)
    assert server.asked == [None, "bytes=10000-", "bytes=20000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["papila"]
    fetching.fetch("papila", tmp_path / "papila", server.address)
    assert len(server.asked) == 3


def test_another_file_than_the_stated_one_is_refused_and_not_kept(known, packed, serve, tmp_path):
    with pytest.raises(HarnessError, match="its SHA-256 is .* is stated in"):
        fetching.fetch("papila", tmp_path / "papila", serve(packed + b"x").address)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_a_power_cut_left_without_its_bytes_begins_anew(known, packed, serve, tmp_path):
    server = serve(packed)
    (tmp_path / f"papila.zip{files.PART}").write_bytes(bytes(10_000))
    folder = fetching.fetch("papila", tmp_path / "papila", server.address)
    assert server.asked == ["bytes=10000-", None]
    assert (folder / "manifest.csv").is_file()


def test_an_archive_that_outlived_its_unpacking_goes_with_the_next_call(known, packed, tmp_path):
    (tmp_path / "papila").mkdir()
    (tmp_path / "papila" / "manifest.csv").write_text("id\n")
    (tmp_path / f"papila.zip{files.PART}").write_bytes(packed)
    fetching.fetch("papila", tmp_path / "papila")
    assert [path.name for path in tmp_path.iterdir()] == ["papila"]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_else_is_in_the_place_is_refused_and_kept(known, packed, serve, tmp_path, what):
    server = serve(packed)
    mine = tmp_path / "papila" if what == "file" else tmp_path / "papila" / "thesis.tex"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(HarnessError, match="holds something else; give a folder that is not there yet"):
        fetching.fetch("papila", tmp_path / "papila", server.address)
    assert mine.read_text() == "mine"
    assert server.asked == []


@pytest.mark.parametrize(("status", "said"), [(404, "answered 404"), (503, "answered 503")])
def test_what_a_server_answers_is_said(known, packed, serve, tmp_path, status, said):
    with pytest.raises(HarnessError, match=said):
        fetching.fetch("papila", tmp_path / "papila", serve(packed, status=status).address)


def test_without_a_network_nothing_is_left(known, tmp_path):
    with pytest.raises(HarnessError, match="the rest did not come"):
        fetching.fetch("papila", tmp_path / "papila", "http://127.0.0.1:9/papila.zip")
    with pytest.raises(HarnessError, match="there is no such file"):
        fetching.fetch("papila", tmp_path / "papila", str(tmp_path / "missing.zip"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"left_out": "RET002OS_cup_exp1"}, "has no ExpertsSegmentations/Contours/RET002OS_cup_exp1.txt"),
        ({"contour": "1 2\n3 4\n"}, "not a contour"),
        ({"contour": "nonsense"}, "not a contour"),
        ({"patients": 0}, "has no FundusImages"),
    ],
)
def test_an_archive_of_something_else_is_told(monkeypatch, tmp_path, options, said):
    content = archive(**{"patients": 3} | options)
    own = replace(fetching.DATASETS["papila"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(fetching.DATASETS, "papila", own)
    (tmp_path / "given.zip").write_bytes(content)
    with pytest.raises(HarnessError, match=said):
        fetching.fetch("papila", tmp_path / "papila", str(tmp_path / "given.zip"))
    assert not (tmp_path / "papila").exists()


def test_the_licence_is_shown_and_nothing_is_fetched_before_it_is_accepted(known, packed, serve, tmp_path):
    server = serve(packed)
    words = ["fetch", "papila", "--from", server.address, "--to", str(tmp_path / "papila")]
    refused = CliRunner().invoke(data_group, words)
    assert "Licence:  GNU GPL 3.0" in refused.output
    assert "give --accept-licence" in str(refused.exception)
    assert server.asked == []
    done = CliRunner().invoke(data_group, [*words, "--accept-licence"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"harness run --all --protocol papila --data {tmp_path / 'papila'}"
    assert (tmp_path / "papila" / "manifest.csv").is_file()
