"""Certificates, once for all tests of the wire."""

import pytest
from wire.raw import Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate of 127.0.0.1."""
    return make_certificate(tmp_path_factory, "IP:127.0.0.1")


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificate: Certificate) -> Certificate | None:
    """Return a certificate, or None where the connection is plain."""
    return certificate if request.param == "tls" else None
