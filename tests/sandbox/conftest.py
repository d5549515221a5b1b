"""What the tests of the sandbox share."""

import pytest
import trio
from sandbox.receiver import Receiver


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> Receiver:
    """A receiver that says 200 to everything."""
    receiver = Receiver()
    receiver.gate.set()
    listeners = await nursery.start(trio.serve_tcp, receiver.serve, 0)
    receiver.port = listeners[0].socket.getsockname()[1]
    return receiver
