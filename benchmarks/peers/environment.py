"""The peers' own environment: made when it is first needed, and when the list changes.

Only wheels are installed, so that nothing is built or run while installing.
"""

import shutil
import subprocess
import sys

from benchmarks.measure import OUT, ROOT, SenderFailed

LIST = ROOT / "benchmarks" / "peers.txt"
HOME = OUT / "peers"
PYTHON = HOME / "bin" / "python"


def ensure() -> None:
    """Install the peers, unless they are.

    Raises:
        SenderFailed: they cannot be: there is no network, or no wheel for this machine.
    """
    installed = HOME / "installed.txt"
    if installed.exists() and installed.read_text() == LIST.read_text():
        return
    make = [sys.executable, "-m", "venv", "--clear", str(HOME)]
    install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-deps"]
    install += ["--disable-pip-version-check", "--only-binary", ":all:"]
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME)]
        install = [uv, "pip", "install", "--quiet", "--no-deps", "--no-build"]
        install += ["--python", str(PYTHON)]
    try:
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run([*install, "-r", str(LIST)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise SenderFailed(f"the peers cannot be installed: {last or error}") from error
    shutil.copy(LIST, installed)
