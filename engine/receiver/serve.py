"""The server around the pages: hypercorn on trio."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from engine.receiver.line import Line
from engine.receiver.site import PATIENCE, Counts, Gate, Site


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate, PEM."""

    certificate: Path
    key: Path


async def serve(
    runs: Path,
    gate: Gate,
    *,
    counts: Counts,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Tls | None = None,
    patience: float = PATIENCE,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Receive posts until cancelled; reports the base URL when it listens.

    Posts that are being kept when it is cancelled are kept to the end.

    Args:
        runs: the runs folder, beside whose runs events are kept.
        gate: who is let in.
        counts: told of everything that comes.
        host: address to listen on.
        port: TCP port; 0 chooses a free one.
        tls: the certificate; None: plain http, for behind a proxy that has one.
        patience: seconds for a post to come in whole.
        task_status: given by `nursery.start`.

    Raises:
        StoreError: the events cannot be kept there, or the keys not be read.
        OSError: the port cannot be listened on.
    """
    line = Line(runs, counts.add)
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("engine.receiver")
    config.graceful_timeout = 3.0
    config.include_server_header = False
    if tls is not None:
        config.certfile, config.keyfile = str(tls.certificate), str(tls.key)
    site = Site(gate, line, runs, counts, patience=patience)
    app = cast("Any", site.app())
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        (bound,) = await nursery.start(
            partial(hypercorn_serve, app, config, shutdown_trigger=trio.sleep_forever)
        )
        task_status.started(bound)
