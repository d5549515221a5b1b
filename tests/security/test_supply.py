"""S16: what is installed is what was locked, byte for byte, and not much."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
#: Each package of the lock, with all that stands below it.
LOCKED = re.findall(
    r"^([A-Za-z0-9._-]+)==(\S+)((?:.*\\\n|.*--hash.*\n)*)", LOCK, re.MULTILINE
)
#: Software of those who send mail for a living: we speak HTTP to them.
SDKS = re.compile(r"sendgrid|mailgun|postmark|sparkpost|resend|brevo|telnyx|boto|cloud")
#: Packages, those of the tests included: more than that nobody has looked at.
MOST = 70


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", text)[0].lower() for text in requirements}


def test_every_package_is_locked_with_hashes() -> None:
    """One version each, by its content; and whoever installs asks for that."""
    assert len(LOCKED) > 20
    for name, _, rest in LOCKED:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name
    assert len(LOCKED) == len(re.findall(r"^[A-Za-z0-9]\S*==", LOCK, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install.*-r requirements\.lock", makefile)
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_the_lock_holds_what_the_project_asks_for() -> None:
    """Nothing comes in beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = _names(project["project"]["dependencies"])
    asked |= _names(project["dependency-groups"]["dev"])
    assert set() == asked - {name.lower() for name, _, _ in LOCKED}


def test_nobody_elses_sender_is_installed() -> None:
    """No SDK of a provider, and no more packages than can be looked at."""
    assert [] == [name for name, _, _ in LOCKED if SDKS.search(name)]
    assert len(LOCKED) <= MOST


def test_the_sandbox_of_templates_has_no_known_hole() -> None:
    """S3: Jinja 3.1.6 closed the last (CVE-2025-27516), and nothing older is taken."""
    installed = tuple(map(int, version("jinja2").split(".")[:3]))
    assert installed >= (3, 1, 6)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "jinja2>=3.1.6,<4" in project["project"]["dependencies"]
