"""Who signed a submission: SSH keys, made and checked by `ssh-keygen -Y`."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from harness.errors import HarnessError, plain
from harness.submission.findings import Finding

PURPOSE = "equity-leaderboard"
"""What a signature is for: one that was made for anything else is none of a submission."""

SUFFIX = ".sig"
"""How the name of the file beside a submission ends that holds its signature."""

_MOST = 20_000
_HEAD = b"-----BEGIN SSH SIGNATURE-----"
_GOOD = re.compile(r'Good "[^"]*" signature (?:for \S+ )?with \S+ key (SHA256:[A-Za-z0-9+/=]+)')


def sign(data: bytes, key: Path) -> bytes:
    """Return the signature of a submission's bytes by an SSH key, private or, with an agent, public.

    Raises HarnessError where ssh-keygen is not there or cannot sign with that key.
    """
    if not key.is_file():
        raise HarnessError(f"--sign {key}: no such file; give an SSH key, like ~/.ssh/id_ed25519.")
    done = _keygen("sign", "-f", str(key), "-n", PURPOSE, data=data)
    if done.returncode or not done.stdout.startswith(_HEAD):
        raise HarnessError(f"--sign {key}: ssh-keygen does not sign with it ({_said(done.stderr)}).")
    return done.stdout


def place(file: Path) -> Path:
    """Return where the signature of a submission lies, there or not."""
    return file.with_name(file.name + SUFFIX)


def signed_by(data: bytes, signature: bytes) -> str:
    """Return the fingerprint of the key that made a signature of these bytes. Raises HarnessError."""
    if len(signature) > _MOST or not signature.startswith(_HEAD):
        raise HarnessError("the signature is none of SSH")
    with tempfile.NamedTemporaryFile(suffix=SUFFIX) as file:
        file.write(signature)
        file.flush()
        done = _keygen("check-novalidate", "-n", PURPOSE, "-s", file.name, data=data)
    found = _GOOD.match(done.stdout.decode(errors="replace"))
    if done.returncode or found is None:
        raise HarnessError("the signature is not of this file, or was made for another purpose")
    return found[1]


def known_as(data: bytes, signature: bytes, signers: Path) -> str:
    """Return whose key made a signature, by a file of allowed signers, "" where none of them did."""
    with tempfile.NamedTemporaryFile(suffix=SUFFIX) as file:
        file.write(signature)
        file.flush()
        done = _keygen("find-principals", "-s", file.name, "-f", str(signers), data=data)
        for name in done.stdout.decode(errors="replace").split():
            asked = ["-I", name, "-n", PURPOSE, "-s", file.name, "-f", str(signers)]
            if _keygen("verify", *asked, data=data).returncode == 0:
                return plain(name)
    return ""


def finding(file: Path, data: bytes, signers: Path | None) -> tuple[Finding, str]:
    """Return what the signature beside a submission says, and the key's fingerprint, "" without one."""
    beside = place(file)
    if not beside.is_file():
        return Finding("signature", "could not confirm", "nobody signed it (harness pack --sign KEY)"), ""
    signature = beside.read_bytes()[: _MOST + 1]
    try:
        key = signed_by(data, signature)
    except HarnessError as error:
        return Finding("signature", "failed", f"{beside.name}: {error}"), ""
    if signers is None:
        return Finding("signature", "confirmed", f"signed by the key {key}"), key
    name = known_as(data, signature, signers)
    if not name:
        return Finding(
            "signature", "failed", f"signed by the key {key}, which {signers.name} does not have"
        ), ""
    return Finding("signature", "confirmed", f"signed by {name}, key {key}"), key


def _keygen(action: str, *options: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *options], input=data, capture_output=True, check=False, timeout=60
        )
    except FileNotFoundError:
        raise HarnessError("Signatures need ssh-keygen; install OpenSSH's client.") from None
    except subprocess.TimeoutExpired:
        raise HarnessError("ssh-keygen did not answer within a minute; is the key's agent waiting?") from None


def _said(text: bytes) -> str:
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return plain(lines[-1][:200]) if lines else "it says nothing"
