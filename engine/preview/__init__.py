"""A page to look at before anything is sent: messages of an informative sample.

choose.py   which rows tell most
shown.py    one message, in all its forms
page.py     the page: one file, no network, nothing of a mail can run in it
page.html   its frame, page.css its looks, page.js its turning of pages
"""

from engine.preview.choose import chosen
from engine.preview.page import write

__all__ = ["chosen", "write"]
