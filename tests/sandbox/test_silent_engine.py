"""An engine that greets and then says nothing, or goes away: one sentence, and no word of a path."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from harness.errors import HarnessError
from harness.sandbox import build, container, engine
from harness.sandbox.limits import Limits


class _Greets(BaseHTTPRequestHandler):
    """Answers who it is; for the rest it does as the test says: hangs, hangs up, or refuses."""

    def _answer(self) -> None:
        if self.path.endswith(("/_ping", "/version")):
            self._say(200, {"ApiVersion": "1.43", "Version": "24"})
        elif self.server.after == "hangs":
            self.server.over.wait()
        elif self.server.after == "refuses":
            self._say(500, {"message": "no space left on device"})

    def _say(self, status: int, what: dict[str, str]) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer

    def address_string(self) -> str:
        return "the socket"

    def log_message(self, *_) -> None:
        pass


class _Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["hangs", "hangs up", "refuses"])
def odd(request, tmp_path, monkeypatch):
    """How an engine behaves once it has greeted; it is the one that the SDK talks to."""
    with _Engine(str(tmp_path / "s"), _Greets) as server:
        server.after, server.over = request.param, threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 's'}")
        connect = engine.connect
        # A second is enough for what never comes.
        monkeypatch.setattr(engine, "connect", lambda patience=0: connect(1))
        yield request.param
        server.over.set()
        server.shutdown()


def asked(name: str, tmp_path) -> None:
    """Each thing that is asked of an engine."""
    if name == "image":
        engine.image(engine.connect(), "cpu")
    elif name == "run":
        container.execute([], {}, "sha256:0", Limits(), 0, 1.0, lease=tmp_path)
    elif name == "list":
        container.remove_all("run")
    else:
        build.build("base", None, "cpu")


@pytest.mark.parametrize("name", ["image", "run", "list", "build"])
def test_what_an_engine_does_not_answer_is_one_sentence_that_names_it(odd, name, tmp_path):
    with pytest.raises(HarnessError) as raised:
        asked(name, tmp_path)
    said = str(raised.value)
    assert "\n" not in said
    if odd == "refuses":
        assert "stopped answering" not in said
    else:
        assert said.startswith("The Docker engine stopped answering (")
