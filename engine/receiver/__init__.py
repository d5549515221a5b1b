"""What providers post to: a server that keeps events before it says that it has them.

    POST /<key>/<provider>     200 kept · 401 not to be believed · 503 post it again
    GET, POST /u/<token>       a page to unsubscribe by; RFC 8058's one click

    line    what waits to be kept: many posts, one flush of the disk
    pages   what people see who unsubscribe
    site    the routes, and who is let in
    serve   the server around them

Rules: nothing is answered with 2xx that is not on the disk. Who posts must know the key
in the path, and where a secret is agreed, must have signed. No address, body or key is
ever logged.
"""

from engine.receiver.serve import Tls, serve
from engine.receiver.site import Counts, Gate

__all__ = ["Counts", "Gate", "Tls", "serve"]
