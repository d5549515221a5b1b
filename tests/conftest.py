"""What all tests start from."""

import signal


def pytest_sessionstart() -> None:
    """Take SIGINT as a terminal gives it.

    A script's shell has what it puts in the background ignore SIGINT, and so would all
    processes that are started here, which are to be interrupted.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
