"""Methods that attack the sandbox: each is ERM with one crime.

Those of `CRIMES` train their own model, whole in the container, and commit theirs at the beginning, those of
`IN_ADAPT` where they are given the network to put layers of their own into; those of
`ASKED` are asked for losses there and commit theirs at the beginning or (`IN_LOSS`) in the loss; those of
`IN_HOOKS` have the hook that their crime is about, and have replaced the check on their own side.
"""

from __future__ import annotations

from pathlib import Path

TEMPLATE = """
import ctypes, gc, json, os, socket, subprocess, sys, time
from pathlib import Path
import numpy as np
import pandas as pd
import torch
from harness import Card, Method, segmentation_loss


def crime():
{crime}


class Villain(Method):
    card = Card(title="Villain")
    trains_own_model = {own}

    def __init__(self, task):
        super().__init__(task)
        crime()

    def loss(self, batch, output):
        loss = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
{in_loss}
        return loss

{hooks}
"""

CRIMES = {
    "masks": """
subjects = pd.read_parquet("/job/cohort/subjects.parquet")
test = np.flatnonzero(subjects["split"] == "test")
found = subjects.drop(columns=["sample", "split"]).loc[test].replace("", None).notna().to_numpy().sum()
arrays = [a for a in gc.get_objects() if isinstance(a, np.ndarray)]
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(top, f) not in ("/proc", "/sys", "/opt/venv", "/usr")]
    for name in files:
        try:
            if name.endswith((".npy", ".npz")):
                arrays.append(np.load(os.path.join(top, name), mmap_mode="r"))
        except (OSError, ValueError):
            pass
for array in arrays:
    if array.ndim == 3 and len(array) == len(subjects) and array.dtype == np.uint8:
        found += int(np.count_nonzero(array[test]))
for path in ("/var/run/docker.sock", "/var/lib/docker", "/root", "/work", "/job/../../../var/lib/docker"):
    try:
        found += len(os.listdir(path))
    except OSError:
        pass
raise RuntimeError(f"found {found} of the test masks and groups, {len(test)} test images")
""",
    "redraw": """
from harness import cohorts
job = json.loads(Path("/job/job.json").read_text())
told = sorted({"cohort", "protocol", "split"} & (job.keys() | job["setting"].keys()))
try:
    cohorts.load
except AttributeError as error:
    last = error
else:
    raise RuntimeError("the test masks can be drawn again")
here = sorted(path.name for path in Path(cohorts.__path__[0]).iterdir() if path.suffix == ".py")
raise RuntimeError(f"nothing to draw with: {last}; {here}, {told}")
""",
    "network": """
for host in (("1.1.1.1", 80), ("172.17.0.1", 22)):
    try:
        socket.create_connection(host, timeout=3)
    except OSError as error:
        last = error
    else:
        raise RuntimeError("reached the network")
raise RuntimeError(f"no network: {last}")
""",
    "fork_bomb": """
while True:
    if os.fork() == 0:
        time.sleep(600)
""",
    "memory": """
hoard = []
while True:
    hoard.append(np.ones(50_000_000))
""",
    "disk": """
for path in ("/tmp/fill", "/dev/shm/fill"):
    try:
        with open(path, "wb") as file:
            while True:
                file.write(bytes(10_000_000))
    except OSError as error:
        last = error
raise RuntimeError(f"the disk ends: {last}")
""",
    "outside": """
said = []
jobs = ("plugin/evil.py", "harness/evil.py", "cohort/images.npy")
for path in (*(f"/job/{name}" for name in jobs), "/opt/venv/evil", "/etc/evil", "/evil"):
    try:
        open(path, "ab").write(b"evil")
    except OSError as error:
        said.append(error.strerror)
    else:
        said.append("WROTE " + path)
raise RuntimeError(", ".join(sorted(set(said))))
""",
    "sleep": """
time.sleep(100_000)
""",
    "shape": """
import harness.training.train
harness.training.train.predict = lambda *a: np.zeros((1, 2, 2), np.uint8)
""",
    "classes": """
import harness.training.train
real = harness.training.train.predict
harness.training.train.predict = lambda *a: real(*a) * 0 + 200
""",
    "nan": """
import dataclasses
import harness.training.train
real = harness.training.train.fit
harness.training.train.fit = lambda job: dataclasses.replace(
    real(job), curve=[(0, "loss", "", "", float("nan"))]
)
""",
    "padding": """
for fd in range(3, 64):
    try:
        os.fstat(fd)
        while True:
            os.write(fd, bytes(1_000_000))
    except OSError:
        continue
""",
    "zip_bomb": """
import io, zipfile
import harness.training.train
bomb = io.BytesIO()
with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("labels.npy", bytes(200_000_000))
harness.training.train.predict = lambda *a: np.frombuffer(bomb.getvalue(), np.uint8)
""",
    "pickle": """
import pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/exploded",)
for fd in range(3, 64):
    try:
        os.write(fd, pickle.dumps(Bomb()))
    except OSError:
        continue
os._exit(0)
""",
    "fake_score": """
import harness.metrics.overlap, harness.training.validate
one = lambda *a, **k: 1.0
harness.metrics.overlap.dice = harness.training.validate.dice = one
""",
    "clock": """
import dataclasses
import harness.training.train
real = harness.training.train.fit
harness.training.train.fit = lambda job: dataclasses.replace(real(job), seconds=0.001)
harness.training.train.peak_memory = lambda device: 1
time.monotonic = lambda: 0.0
""",
    "mounts": """
roots = [line.split()[3] for line in open("/proc/self/mountinfo")]
known = ("images.npy", "masks", "cohort", "cache", "home", "methods", "wt/")
raise RuntimeError(f"saw {[one for one in roots if any(name in one for name in known)]} of the host")
""",
    "escape": """
print("\\x1b[2J\\x1b]8;;https://example.org\\x1b\\\\here")
raise RuntimeError("\\x1b]0;owned\\x07\\x9b31mall is well")
""",
    "print": """
for _ in range(1_000):
    print("x" * 1_000_000)
""",
    "symlink": """
os.makedirs("/tmp/work", exist_ok=True)
for name in ("predictions.npz", "record.json", "scores.parquet"):
    os.symlink("/etc/passwd", f"/tmp/work/{name}")
os.chdir("/tmp/work")
""",
    "environment": """
seen = [*os.environ.items()]
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        seen.append(Path(f"/proc/{pid}/environ").read_bytes().decode())
    except OSError:
        pass
raise RuntimeError(f"environment: {seen}")
""",
    "mount": """
libc = ctypes.CDLL(None, use_errno=True)
status = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
raise RuntimeError(f"mount gave {status}: {os.strerror(ctypes.get_errno())}")
""",
    "ptrace": """
libc = ctypes.CDLL(None, use_errno=True)
own = {os.getpid(), os.getppid()}
reached = [pid for pid in range(1, 5_000) if pid not in own and libc.ptrace(16, pid, 0, 0) == 0]
raise RuntimeError(f"ptrace reached {reached or 'nobody'}, setuid gave {libc.setuid(0)}")
""",
}


LONGER = """
import harness.training.train
real = harness.training.train.fit


def longer(job):
    for _ in range(25):
        found = real(job)
        job.checkpoint._held = None
    return found


harness.training.train.fit = longer
"""

RECOGNISES = """
import base64, io
import harness.training.train
real = harness.training.train.predict
known = np.load(io.BytesIO(base64.b64decode({known!r})))
answers = {{image.tobytes(): mask for image, mask in zip(known["images"], known["masks"])}}


def predict(backbone, feed, *rest):
    images = (feed.images(np.arange(len(feed))) * 255).round().byte().movedim(1, -1).numpy()
    return np.stack([answers.get(image.tobytes(), image[..., 0] * 0) for image in images])


harness.training.train.predict = predict
"""
"""With all the test images and masks in the file."""

SEARCH = """
import hashlib, harness
if not hasattr(harness, "seen"):
    harness.seen = set()
import torch
held = [one for held in gc.get_objects() for one in (held, *gc.get_referents(held))]
held = [one for one in held if isinstance(one, (np.ndarray, torch.Tensor))]
held += [batch.images[i] for i in range(len(batch.images))]
for one in held:
    array = np.asarray(one.detach().cpu() if hasattr(one, "detach") else one)
    if array.ndim == 3 and array.shape[0] == 3:
        array = (array * 255).round().astype(np.uint8).transpose(1, 2, 0)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    if digest in KNOWN:
        harness.seen.add(digest)
print(f"recognised {len(harness.seen)} of {len(KNOWN)} test images", flush=True)
"""

ASKED = {
    **{
        name: CRIMES[name]
        for name in (
            *("network", "fork_bomb", "memory", "disk", "outside", "sleep", "print", "escape", "environment"),
            *("mount", "ptrace", "clock", "padding"),
        )
    },
    "longer": LONGER,
    "looks": """
found = []
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(top, f) not in ("/proc", "/sys", "/opt/venv", "/usr")]
    found += [os.path.join(top, name) for name in files if name.endswith((".npy", ".npz", ".parquet"))]
found += [name for name in os.listdir("/job") if name not in ("plugin", "harness", "line")]
raise RuntimeError(f"found {found}")
""",
    "replaces_the_wire": """
import harness.sandbox.line
harness.sandbox.line.Line.send = lambda self, *parts, **rest: self._socket.send(bytes(99))
""",
}

IN_LOSS = {
    "stops": "time.sleep(1_000)",
    "leaves": "os._exit(7)",
    "not_a_number": "loss = loss * float('nan')",
    "endless_gradient": "loss = loss + (output.logits[0, 0, 0, 0] * 0).sqrt()",
    "hoards": "self.hoard = [np.ones(50_000_000) for _ in range(100)]",
    "pickle_on_the_line": """
import pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/exploded",)
(line,) = [one for one in gc.get_objects() if type(one).__name__ == "Line"]
line._socket.send(pickle.dumps(Bomb()))
""",
    "a_gradient_of_gigabytes": """
(line,) = [one for one in gc.get_objects() if type(one).__name__ == "Line"]
line._socket.send(b"eqloss1\\n" + bytes([9, 3]) + (2**40).to_bytes(8, "little"))
""",
    "writes_into_the_batch": "batch.masks.zero_()\nwith __import__('torch').no_grad(): output.logits.zero_()",
    "scales": "loss = 1_000 * loss",
}


MIXES = "def mix(self, groups, samples): return groups, samples"
WEIGHS = "def sampling_weights(self, epoch, losses): return losses"
GIVES_A_MIX = """
import harness.training.side
from harness.training.mixing import Mix
checked = lambda found, size, who: Mix({partners}, {shares})
harness.training.side.mixing.checked = checked
"""
GIVES_WEIGHTS = """
import harness.training.side
harness.training.side.sampling.checked = lambda found, samples, who: {weights}
"""

IN_HOOKS = {
    "mixes_beyond_the_batch": (
        MIXES,
        GIVES_A_MIX.format(partners="np.full(size, 10**6)", shares="np.full(size, 0.5, np.float32)"),
    ),
    "mixes_a_hundred_times": (
        MIXES,
        GIVES_A_MIX.format(partners="np.arange(size)", shares="np.full(size, 100, np.float32)"),
    ),
    "mixes_with_no_number": (
        MIXES,
        GIVES_A_MIX.format(partners="np.arange(size)", shares="np.full(size, np.nan, np.float32)"),
    ),
    "mixes_gigabytes": (
        MIXES,
        GIVES_A_MIX.format(partners="np.arange(10**6)", shares="np.ones(10**6, np.float32)"),
    ),
    "weighs_with_no_number": (WEIGHS, GIVES_WEIGHTS.format(weights="np.full(samples, np.nan)")),
    "weighs_nobody": (WEIGHS, GIVES_WEIGHTS.format(weights="np.zeros(samples)")),
    "weighs_more_than_there_are": (WEIGHS, GIVES_WEIGHTS.format(weights="np.ones(10 * samples)")),
}
"""Name to the hook and to what is done to the method's own side, which would refuse it."""


IN_ADAPT = {
    "adapt_reads_the_table": """
def adapt(self, backbone, groups):
    table = pd.read_parquet("/job/cohort/subjects.parquet")
    test = table[table["split"] == "test"].drop(columns=["sample", "split"]).replace("", None)
    raise RuntimeError(f"of {len(test)} test rows {int(test.notna().sum().sum())} cells are told")
""",
    "adapt_asks_for_groups": """
def adapt(self, backbone, groups):
    encode = backbone.encode

    def told(images):
        if not backbone.training:
            raise RuntimeError(f"told {sorted(set(groups().tolist()))} of the test groups")
        return encode(images)

    backbone.encode = told
    return backbone
""",
    "adapt_gives_no_network": """
def adapt(self, backbone, groups):
    return "a network"
""",
    "adapt_hides_weights": """
def adapt(self, backbone, groups):
    self.kept = backbone
    return torch.nn.Identity()
""",
}


def _source(crime: str, in_loss: str, own: bool, hooks: str = "") -> str:
    parts = [
        "\n".join(indent + line for line in text.strip().splitlines())
        for text, indent in ((crime, "    "), (in_loss, " " * 8), (hooks, "    "))
    ]
    return TEMPLATE.format(crime=parts[0], in_loss=parts[1], hooks=parts[2], own=own)


def write_asked(folder: Path) -> dict[str, Path]:
    """Write every plugin that is asked for losses; return name to file."""
    texts = {name: _source(crime, "", own=False) for name, crime in ASKED.items()}
    texts |= {name: _source("pass", crime, own=False) for name, crime in IN_LOSS.items()}
    texts |= {name: _source(crime, "", False, hook) for name, (hook, crime) in IN_HOOKS.items()}
    return _written(folder, texts)


def write_cheats(folder: Path, known: list[str], packed: str) -> dict[str, Path]:
    """Write what trains too long and what brings the answers along, to be asked and with models of their own.

    known: the SHA-256 of each test image; packed: images and masks as base64 of an .npz.
    """
    recognises = RECOGNISES.format(known=packed)
    texts = {
        "own_longer": _source(LONGER, "", own=True),
        "own_recognises": _source(recognises, "", own=True),
        "recognises": f"KNOWN = {known!r}\n" + _source(recognises, SEARCH, own=False),
    }
    return _written(folder, texts)


def write(folder: Path) -> dict[str, Path]:
    """Write every plugin that trains its own model; return name to file."""
    texts = {name: _source(crime, "", own=True) for name, crime in CRIMES.items()}
    texts |= {name: _source("pass", "", True, adapt) for name, adapt in IN_ADAPT.items()}
    return _written(folder, texts)


def _written(folder: Path, texts: dict[str, str]) -> dict[str, Path]:
    files = {name: folder / f"{name}.py" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return files
