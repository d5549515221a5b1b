"""One connection of the sandbox to a receiver of webhooks: HTTP/1.1 over h11.

It stays open between posts for as long as the receiver lets it. A receiver may close an
idle one at any time, which is nobody's fault: a post that meets that before the first
byte of an answer is sent once more at once, on a fresh connection.

Limits: plain http, answers are read and thrown away but for their status.
"""

from collections.abc import Mapping
from typing import Self

import h11
import trio

#: Seconds from connecting to the end of the answer; CloudMails waits as long.
PATIENCE = 10.0
_CHUNK = 16 * 1024


class Client:
    """A connection to one place, opened when it is first needed."""

    def __init__(self) -> None:
        self._stream: trio.SocketStream | None = None
        self._place: tuple[str, int] | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._heard = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection, at once."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def post(
        self,
        place: tuple[str, int],
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> int | None:
        """Post, and return the status of the answer; None if there was none.

        Args:
            place: host and TCP port.
            target: path and query.
            headers: name to value, without `Host` and `Content-Length`.
            body: the bytes to post.
        """
        host, port = place
        request = h11.Request(
            method="POST",
            target=target,
            headers=[
                ("host", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"),
                ("content-length", str(len(body))),
                *headers.items(),
            ],
        )
        status = None
        with trio.move_on_after(PATIENCE):
            try:
                status = await self._ask(place, request, body)
            except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                await self.close()
                return None
        if status is None:
            await self.close()
        return status

    async def _ask(
        self, place: tuple[str, int], request: h11.Request, body: bytes
    ) -> int | None:
        if self._stream is not None and self._place == place:
            try:
                return await self._exchange(self._stream, request, body)
            except (trio.BrokenResourceError, h11.RemoteProtocolError):
                if self._heard:
                    raise
        await self.close()
        self._stream, self._place = await trio.open_tcp_stream(*place), place
        self._http = h11.Connection(h11.CLIENT)
        return await self._exchange(self._stream, request, body)

    async def _exchange(
        self, stream: trio.SocketStream, request: h11.Request, body: bytes
    ) -> int:
        http, status = self._http, 0
        self._heard = False
        data = http.send(request) or b""
        data += http.send(h11.Data(data=body)) or b""
        await stream.send_all(data + (http.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                data = bytes(await stream.receive_some(_CHUNK))
                self._heard = self._heard or bool(data)
                http.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
        else:
            await self.close()
        return status
