"""The pages that people see who unsubscribe: plain, without cookies, scripts or images.

A page that is only looked at changes nothing: scanners of mail follow every link. It
has two buttons; each is a POST to the page itself.
"""

from html import escape
from typing import Final

_FRAME: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1.0625rem/1.5 system-ui, sans-serif; margin: 0; padding: 1.5rem;
         display: flex; justify-content: center; }}
  main {{ max-width: 28rem; width: 100%; margin-top: 12vh; }}
  h1 {{ font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }}
  p {{ margin: 0 0 1.25rem; }}
  button {{ font: inherit; display: block; width: 100%; min-height: 3rem;
           margin: 0 0 .75rem; border-radius: .5rem; cursor: pointer;
           border: 1px solid #1a56db; background: #1a56db; color: #fff; }}
  button.quiet {{ background: transparent; color: inherit; border-color: #8886; }}
  button:focus-visible {{ outline: 3px solid #93b4f5; outline-offset: 2px; }}
</style>
</head>
<body><main>
{content}
</main></body>
</html>
"""
_ASK: Final = """<h1>Unsubscribe?</h1>
<p>You get mail from the list <strong>{name}</strong>.</p>
<form method="post">
<button name="scope" value="list">Unsubscribe from {name}</button>
<button class="quiet" name="scope" value="all">Unsubscribe from everything</button>
</form>"""
_DONE: Final = """<h1>You are unsubscribed</h1>
<p>You will get no more mail {what}. A message that is on its way already may still
arrive.</p>"""
_MORE: Final = """<form method="post">
<button class="quiet" name="scope" value="all">Unsubscribe from everything</button>
</form>"""
_UNKNOWN: Final = """<h1>This link does not work</h1>
<p>It may have been cut off in your mail program. Please use the link in the message
again, or answer to the message.</p>"""
_LATER: Final = """<h1>Please try again</h1>
<p>This could not be written down just now. Please try again in a minute.</p>"""


def ask(name: str) -> str:
    """Return the page that asks; `name` is the list's."""
    return _page("Unsubscribe", _ASK.format(name=escape(name)))


def done(name: str | None) -> str:
    """Return the page that confirms; None: everything.

    Whoever has left one list can leave the others, too.
    """
    what = "of any kind" if name is None else f"from the list {escape(name)}"
    more = "" if name is None else f"\n{_MORE}"
    return _page("Unsubscribed", _DONE.format(what=what) + more)


def unknown() -> str:
    """Return the page of a link that is not ours."""
    return _page("Unsubscribe", _UNKNOWN)


def later() -> str:
    """Return the page of a disk that failed."""
    return _page("Unsubscribe", _LATER)


def _page(title: str, content: str) -> str:
    return _FRAME.format(title=title, content=content)
