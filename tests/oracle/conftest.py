"""The desk and the sandboxes of the end-to-end tests."""

from end_to_end.conftest import desk, sandbox, start_sandbox

__all__ = ["desk", "sandbox", "start_sandbox"]
