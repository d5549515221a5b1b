"""Messages between two processes of ours: a socket pair with lengths before the words.

What is said is a closed set, the tuples below; both ends run the same code of the same
interpreter, and nobody else has an end of the pipe. So pickle is safe here, and it is
the fastest that keeps our own words.

How it works: what is put while a write is under way leaves with the next one. A pipe
knows how much of what was put has left, so that after the other's death it is known of
each message whether it can have been heard.
"""

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import trio

from engine import errors
from engine.errors import BrokenPromise, EngineError
from engine.outcome import Outcomes
from engine.render import Failure

#: Bytes read at once.
_GULP = 256 * 1024
_LENGTH = struct.Struct("!I")

#: A batch as it crosses the pipe: what `Parcel` is made of.
Columns = tuple[str, list[int], bytes, int]
#: An error as it crosses the pipe: its class, its words, its attributes.
Packed = tuple[str, str, dict[str, Any]]


class Begin(NamedTuple):
    """The first words to a new process: what it works for.

    Attributes:
        directory: the run's, absolute.
        manifest: its hash, for the run is never another one.
        base_url: where requests go.
        token: the account's secret, which appears nowhere else.
        parent: the process that started it.
    """

    directory: str
    manifest: str
    base_url: str
    token: str
    parent: int


#: To a process: what hand, what to do, with what. `make` takes a chunk as Arrow IPC,
#: `halve` and `send` the id of a batch that the same hand has made.
Order = tuple[Literal["make"], int, bytes] | tuple[Literal["halve", "send"], int, str]
#: From a process: which hand, and what came of its order. `sent` comes before the end
#: of a `send`. `broken` is a bug of ours, with its traceback.
Report = (
    tuple[Literal["made"], int, list[Columns], list[Failure], float, float]
    | tuple[Literal["sent"], int]
    | tuple[Literal["answered"], int, int, Outcomes]
    | tuple[Literal["failed"], int, Packed]
    | tuple[Literal["broken"], int, str]
)


class Pipe:
    """One end. `run` writes what is put, and belongs into a nursery.

    Attributes:
        left: bytes that have left this end.
    """

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._socket = trio.socket.from_stdlib_socket(end)
        self._waiting: list[bytes] = []
        self._put = 0
        self._news = trio.lowlevel.ParkingLot()
        self._came = bytearray()
        self.left = 0

    def put(self, message: Any) -> int:
        """Say something; returns at once.

        Returns:
            What `left` must have reached for all of it to have left.
        """
        words = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._waiting += (_LENGTH.pack(len(words)), words)
        self._put += _LENGTH.size + len(words)
        self._news.unpark()
        return self._put

    async def run(self) -> None:
        """Write what is put, until cancelled or the other end is gone."""
        while True:
            while not self._waiting:
                await self._news.park()
            words = memoryview(b"".join(self._waiting))
            self._waiting.clear()
            while words:
                try:
                    count = await self._socket.send(words)
                except (OSError, trio.ClosedResourceError):
                    return  # `listen` sees its end, too
                self.left += count
                words = words[count:]

    async def listen(self) -> list[Any]:
        """Return what was said since; waits for something, empty at the end."""
        while True:
            try:
                came = await self._socket.recv(_GULP)
            except (OSError, trio.ClosedResourceError):  # it may leave words unread
                came = b""
            if not came:
                return []
            self._came += came
            if messages := list(self._whole()):
                return messages

    def _whole(self) -> Iterator[Any]:
        """Take what has come whole out of what has come."""
        start, view = 0, memoryview(self._came)
        with view:
            while len(view) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                end = start + _LENGTH.size + length
                if end > len(view):
                    break
                yield pickle.loads(view[start + _LENGTH.size : end])  # noqa: S301 - our own words
                start = end
        del self._came[:start]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def packed(error: EngineError) -> Packed:
    """Take an error apart: pickle cannot make one that wants its attributes at once."""
    return type(error).__name__, str(error), vars(error)


def unpacked(error: Packed) -> EngineError:
    """Put an error together again."""
    name, words, attributes = error
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, EngineError)):
        return BrokenPromise(f"{name}: {words}")
    made = kind.__new__(kind, words)
    made.args = (words,)
    vars(made).update(attributes)
    return made
