"""The preview page, in a real browser: what it shows, and what cannot happen in it."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import DESK, PHONE, Page, browser
from handmade import campaign_file, lay_out

CAMPAIGN = campaign_file(
    message="""\
subject = "subject"
html = "html"
text = "text"
bcc = "archive@harbour.example"
[[message.attachments]]
path = "dot.png"
inline = "dot"
[message.headers]
X-Shop = "harbour"
""",
    provider="""\
name = "cloudflare"
account_id = "0123456789abcdef0123456789abcdef"
""",
)
#: A picture of one pixel.
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cfc0f01f000501017f2f2b1b0d0000000049454e44ae426082"
)
PEOPLE = ["id,email,name,city,note,bad"] + [
    f"k{n},r{n}@inbox.example,{name},{city},</script><script>,{bad}"
    for n, (name, city, bad) in enumerate(
        [
            *[("Ann", "Rome", "x"), ("", "", "x"), ("Θάλεια", "", "x")],
            *[("Long " * 40, "Oslo", "x"), ("Bad", "", ""), ("<b>Last", "", "x")],
        ]
    )
]
#: What a hostile mail would do: run, load, leave, post, close the page's own element.
HOSTILE = """<!doctype html><html><head><title>x</title></head><body>
<p id="hello">Dear {{ name }}{% if city %} of {{ city }}{% endif %},</p>
<script>document.title = "owned"; fetch("URL/fetched")</script>
<img src="URL/remote.png" onerror="top.document.title = 'owned'">
<img src="cid:dot" alt="a dot"><link rel="stylesheet" href="URL/style.css">
<iframe src="URL/frame"></iframe><object data="URL/object"></object>
<meta http-equiv="refresh" content="0;url=URL/refresh">
<div style="background: url(URL/background.png)">x</div>
<form action="URL/posted"><button id="go">go</button></form>
<a id="away" href="URL/followed" target="_top">away</a></script><!-- </html>
"""


@pytest.fixture
def network() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and the paths that were asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    # In threads: a browser opens connections that it asks nothing over, for minutes.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


Write = Callable[..., Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write the preview of a letter to a list that has a bit of everything."""

    @cache
    def write(html: str = HOSTILE, *words: str) -> Path:
        folder = tmp_path_factory.mktemp("letter")
        (folder / "attachments").mkdir()
        (folder / "attachments" / "dot.png").write_bytes(DOT)
        texts = {
            "subject": "Hello {{ name }}",
            "html": html,
            "text": "Dear {{ name }},\n{{ note|int + 1 }}{{ bad[0].upper() }}",
        }
        lay_out(folder, CAMPAIGN, texts, PEOPLE)
        asked = ["preview", "letter.toml", "--no-open", "--json", *words]
        done = subprocess.run(
            [sys.executable, "-m", "engine", *asked],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Path(json.loads(done.stdout)["page"])

    return write


def test_it_shows_what_is_asked_for_the_extremes_and_every_branch(
    page: Page, written: Write
) -> None:
    """The sample is the rows that tell most, each with why it is there."""
    page.open(written(HOSTILE, "--row", "2").as_uri())
    shown = page.run(
        "[...document.querySelectorAll('#list button')].map(b => b.innerText"
        ".split('\\n').map(t => t.trim()).filter(Boolean))"
    )
    assert [(entry[0], entry[-1].split(" ")[0]) for entry in shown] == [
        ("As asked", "2"),
        ("First", "0"),
        ("Last", "5"),
        ("Longest", "3"),
        ("Emptiest", "1"),
        ("Fails", "4"),
    ]
    assert page.complaints() == []


def test_the_keyboard_turns_messages_and_views(page: Page, written: Write) -> None:
    """Arrows go to the next and the previous message, digits to the views."""
    page.open(written().as_uri())
    subject = "document.getElementById('subject').textContent"
    assert page.run(subject) == "Hello Ann"
    page.press("ArrowRight")
    assert page.run(subject) == "Hello <b>Last"
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert page.run(subject) == "Hello Ann"
    panel = "document.getElementById('panel').innerText"
    seen = {}
    for number, name in enumerate(
        ("desktop", "phone", "text", "headers", "source", "data", "findings"), 1
    ):
        page.press(str(number))
        seen[name] = page.run(panel)
    assert seen["text"].startswith("Dear Ann,\n1X")
    assert "X-Shop\tharbour" in seen["headers"]
    assert "Bcc\tarchive@harbour.example" in seen["headers"]
    assert "dot.png" in seen["headers"]
    assert "Subject: Hello Ann" in seen["source"]
    assert "archive@" not in seen["source"]
    assert "note\t</script><script>" in seen["data"]
    assert page.run("document.activeElement.tagName") == "BODY"


def test_nothing_of_a_mail_runs_loads_or_leaves(
    page: Page, written: Write, network: tuple[str, list[str]]
) -> None:
    """Scripts, pictures, frames, refreshes and forms of a mail do nothing at all."""
    url, asked = network
    page.open(written(HOSTILE.replace("URL", url)).as_uri())
    for key in ("2", "1", "ArrowRight"):
        page.press(key)
        page.run("new Promise(done => setTimeout(done, 300))")
    assert page.run("document.title") == "letter, preview"
    assert asked == page.asked() == []
    assert page.run("document.querySelector('iframe').getAttribute('sandbox')") == ""
    assert page.run("document.querySelectorAll('script').length") == 2
    assert "2 pictures from the network" in page.run("document.body.innerText")


def test_a_picture_that_travels_with_the_mail_is_shown(
    page: Page, written: Write
) -> None:
    """`cid:` becomes the attachment itself, and no other address is touched."""
    page.open(written().as_uri())
    shown = page.run("document.querySelector('iframe').srcdoc")
    assert '<img src="data:image/png;base64,' in shown
    assert "cid:dot" not in shown


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_it_fits_the_screen_at_both_widths(
    page: Page, written: Write, size: tuple[int, int], *, dark: bool, tmp_path: Path
) -> None:
    """Nothing runs out of the window sideways, whatever is shown; buttons are large."""
    page.open(written().as_uri(), size, dark=dark)
    for view in "12345678":
        page.press(view)
        wide = page.run("document.documentElement.scrollWidth")
        assert wide == size[0], f"view {view}"
    page.picture(tmp_path / "seen.png")
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(16, 21, 28)" if dark else "rgb(244, 245, 247)")
    heights = page.run(
        "[...document.querySelectorAll('.turn button')].map(b => b.offsetHeight)"
    )
    assert min(heights) >= (44 if size == PHONE else 36)


def test_text_is_told_from_its_ground(page: Page, written: Write) -> None:
    """Every text has a contrast of 4.5 to 1 at least, light and dark."""
    address = written().as_uri()
    for dark in (False, True):
        page.open(address, dark=dark)
        for view in "1678":
            page.press(view)
            assert page.run(CONTRAST) == [], f"dark {dark}, view {view}"


#: Texts with less than WCAG's 4.5 to 1 against the nearest ground; not disabled ones.
CONTRAST = """
(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let up = node; up; up = up.parentElement) {
      const colour = getComputedStyle(up).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
    if (!own || node.disabled || !node.offsetParent) continue;
    if (["SCRIPT", "OPTION"].includes(node.tagName)) continue;
    const pair = [light(getComputedStyle(node).color), light(ground(node))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push([node.className, node.textContent.slice(0, 30), ratio]);
  }
  return found;
})()
"""


def test_the_page_is_for_its_owner_alone(written: Write) -> None:
    """It holds data of people: nobody else can read the file."""
    path = written()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name == "preview.html"
    assert os.sep + "runs" + os.sep in str(path)
