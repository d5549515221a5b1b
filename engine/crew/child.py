"""A process of the crew: hands that are asked over a pipe.

How it works: it makes provider and renderer from the run's directory, as a resume does,
so that its bytes are those of any other process. Each worker of the run that has its
hand here is a task with an `Inline` of its own, which does what it is told in order.

Rules: nothing is decided here, and nothing written down. It ends when its pipe does,
which is when its parent has: a request whose parent is gone was written down as an
intent, and is in doubt. Signals for the whole group are the parent's to heed.
"""

import ctypes
import io
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import polars as pl
import trio

from engine import memory, planning, wire
from engine.crew.hand import Answer, Made, Parcel
from engine.crew.inline import Inline
from engine.crew.maker import Maker
from engine.crew.pipe import Begin, Order, Pipe, packed
from engine.errors import BrokenPromise, EngineError
from engine.manifest import Manifest
from engine.rundir import RunDirectory

#: Linux: the signal that a process gets when its parent ends. prctl(2).
_PR_SET_PDEATHSIG = 1


def main() -> NoReturn:
    """Work for whoever has the other end of standard input, until it hangs up."""
    for heeded_by_parent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heeded_by_parent, signal.SIG_IGN)
    _die_with_parent()
    memory.settle_python()  # polars was told by its parent
    pipe = socket.socket(fileno=os.dup(0))
    code = 70
    try:
        trio.run(_work, pipe)
        code = 0
    except BaseException:  # noqa: BLE001 - told, and the parent sees the end
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)  # no thread or finaliser has anything to save


def _die_with_parent() -> None:
    """Have the kernel end this process with its parent, where it knows how to.

    The pipe's end tells it, too, but only where somebody reads.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


async def _work(end: socket.socket) -> None:
    pipe = Pipe(end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.run)
        orders = await pipe.listen()
        if orders:
            begin: Begin = orders.pop(0)
            if begin.parent == os.getppid():  # else it was gone before `prctl`
                await _obey(pipe, begin, orders, nursery)
        nursery.cancel_scope.cancel()


async def _obey(
    pipe: Pipe, begin: Begin, orders: list[Order], nursery: trio.Nursery
) -> None:
    """Hand each order to the task of its hand, until there are no more."""
    site: _Site | EngineError
    try:
        site = _Site(begin)
    except EngineError as error:
        site = error
    hands: dict[int, trio.MemorySendChannel[Order]] = {}
    while True:
        for order in orders:
            number = order[1]
            if isinstance(site, EngineError):
                pipe.put(("failed", number, packed(site)))
                continue
            if number not in hands:
                hands[number], receive = trio.open_memory_channel[Order](1)
                nursery.start_soon(_serve, pipe, site.hand(), number, receive)
            hands[number].send_nowait(order)
        orders = await pipe.listen()
        if not orders:
            return


class _Site:
    """What all hands of this process share."""

    def __init__(self, begin: Begin) -> None:
        directory = RunDirectory(Path(begin.directory))
        manifest = Manifest.read(directory)
        if manifest.sha256 != begin.manifest:
            raise BrokenPromise(f"{begin.directory}: holds another run")
        plan = planning.take_up(directory, planning.as_planned(manifest))
        credentials = plan.provider.credentials(begin.token)
        self._maker = Maker.of(plan)
        self._headers = credentials.headers
        self._base_url = begin.base_url + credentials.path
        self._context = wire.tls_context(self._base_url)

    def hand(self) -> Inline:
        """Make a hand."""
        way = wire.Wire(self._base_url, self._headers, context=self._context)
        return Inline(self._maker, way)


async def _serve(
    pipe: Pipe, hand: Inline, number: int, orders: trio.MemoryReceiveChannel[Order]
) -> None:
    """Do what one hand is told, in order."""
    known: dict[str, Parcel] = {}

    def sent() -> None:
        pipe.put(("sent", number))

    async with hand:
        async for order in orders:
            try:
                match order:
                    case ("make", _, chunk):
                        known.clear()
                        hand.drop_all()
                        made = await hand.make(pl.read_ipc_stream(io.BytesIO(chunk)))
                        _tell(pipe, number, known, made)
                    case ("halve", _, name):
                        both = await hand.halves(known.pop(name))
                        _tell(pipe, number, known, Made(list(both), []))
                    case ("send", _, name):
                        answer: Answer = await hand.exchange(known[name], sent=sent)
                        pipe.put(("answered", number, *answer))
            except EngineError as error:
                pipe.put(("failed", number, packed(error)))
            except Exception:  # noqa: BLE001 - ours; the parent raises it
                pipe.put(("broken", number, traceback.format_exc()))


def _tell(pipe: Pipe, number: int, known: dict[str, Parcel], made: Made) -> None:
    known.update((parcel.id, parcel) for parcel in made.parcels)
    columns = [tuple(parcel) for parcel in made.parcels]
    pipe.put(("made", number, columns, *made[1:]))


if __name__ == "__main__":
    main()
