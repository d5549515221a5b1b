"""One question to CloudMailin at a time: asked, waited for, and told if it failed.

The limit of an account is low, 5 calls a minute in 2021, so a 429 is no accident: it is
waited out, and everybody who uses the same client waits with it.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlencode

import orjson
import trio

from engine.cloudmailin import failure
from engine.cloudmailin.resources import Entry
from engine.errors import CloudMailinError, ProviderError
from engine.message import Request, Response
from engine.providers.base import SUCCESS
from engine.wire import Wire

#: Seconds; the first wait where CloudMailin names none, doubled by each that follows.
_FIRST_WAIT: Final = 2.0
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
#: A failed verification answers so, with the domain.
_ANSWER_ALL_THE_SAME: Final = HTTPStatus.UNPROCESSABLE_ENTITY


class Line:
    """The way to one account's API. Use it as an async context manager.

    Args:
        base_url: with the account in it, without a trailing `/`.
        token: the account's API token.
        deadline: seconds for one answer.
        patience: seconds of waiting, in all, for one question.
        on_wait: called before each wait with its seconds and its cause.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        context: ssl.SSLContext,
        deadline: float,
        patience: float,
        on_wait: Callable[[float, str], None],
    ) -> None:
        credentials = {"Authorization": f"Bearer {token}"}
        self._wire = Wire(base_url, credentials, context=context, deadline=deadline)
        self._patience = patience
        self._on_wait = on_wait
        self._turn = trio.StrictFIFOLock()

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._wire.__aexit__(kind, error, traceback)

    async def entries(
        self, path: str, asked: str, query: Mapping[str, str]
    ) -> list[Entry]:
        """Ask for a list of objects."""
        response = await self._ask(_request("GET", path, query), asked)
        answer = _json(response)
        if isinstance(answer, list) and all(isinstance(one, dict) for one in answer):
            return answer
        raise failure.unreadable(response, asked, changes=False)

    async def entry(
        self, path: str, asked: str, query: Mapping[str, str] | None = None
    ) -> Entry:
        """Ask for one object."""
        response = await self._ask(_request("GET", path, query), asked)
        return _object(response, asked, changes=False)

    async def change(
        self,
        method: str,
        path: str,
        asked: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Entry:
        """Have something made or changed; returns what it is now."""
        response = await self._ask(_request(method, path, query, body), asked)
        return _object(response, asked, changes=True)

    async def delete(
        self, path: str, asked: str, query: Mapping[str, str] | None = None
    ) -> Entry | None:
        """Have something deleted; returns what it was, where the answer tells."""
        response = await self._ask(_request("DELETE", path, query), asked)
        answer = _json(response)
        return answer if isinstance(answer, dict) else None

    async def check(self, path: str, asked: str) -> tuple[bool, Entry]:
        """Have something looked at; returns whether it passed, and what it is now."""
        request = _request("POST", path)
        try:
            response = await self._ask(request, asked, taken=_ANSWER_ALL_THE_SAME)
        except CloudMailinError as error:
            # To look a second time does no harm: there is nothing to be in doubt of.
            if error.kind == "in_doubt":
                error.kind, error.hint = "unavailable", "ask again later"
            raise
        if response.status in SUCCESS:
            return True, _object(response, asked, changes=False)
        answer = _json(response)
        # A 422 of another kind, say of the account's limits, is not about the records.
        if isinstance(answer, dict) and "domain" in answer:
            return False, answer
        raise failure.of_answer(response, asked, changes=False)

    async def _ask(
        self, request: Request, asked: str, *, taken: int = HTTPStatus.OK
    ) -> Response:
        """Ask until there is an answer that is not to be waited out.

        Raises:
            CloudMailinError: it is neither 2xx nor `taken`, or did not come.
        """
        changes = request.method != "GET"
        async with self._turn:
            wait, waited = _FIRST_WAIT, 0.0
            while True:
                response = await self._exchange(request, asked, changes=changes)
                if response.status in SUCCESS or response.status == taken:
                    return response
                failed = failure.of_answer(response, asked, changes=changes)
                if not _may_be_asked_again(failed, changes=changes):
                    raise failed
                pause = wait if failed.retry_after is None else failed.retry_after
                # A wait of 0 would make a loop as fast as the network.
                pause = max(pause, _FIRST_WAIT / 2)
                if waited + pause > self._patience:
                    failed.hint = f"nothing was changed; ask again in {pause:.0f} s"
                    raise failed
                self._on_wait(pause, str(failed).removeprefix(f"cannot {asked}: "))
                await trio.sleep(pause)
                wait, waited = wait * 2, waited + pause

    async def _exchange(
        self, request: Request, asked: str, *, changes: bool
    ) -> Response:
        try:
            return await self._wire.exchange(request)
        except ProviderError as error:
            raise failure.of_request(error, asked, changes=changes) from error


def _may_be_asked_again(error: CloudMailinError, *, changes: bool) -> bool:
    if error.kind == "account":  # a 429 that speaks of the month's quota
        return False
    return error.http_status in (_BUSY[:1] if changes else _BUSY)


def _request(
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, object] | None = None,
) -> Request:
    target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
    if body is None:
        return Request(method, target, {}, b"")
    headers = {"Content-Type": "application/json"}
    return Request(method, target, headers, json.dumps(body).encode())


def _json(response: Response) -> object:
    """Return the JSON of an answer; None if there is none."""
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None


def _object(response: Response, asked: str, *, changes: bool) -> Entry:
    answer = _json(response)
    if isinstance(answer, dict):
        return answer
    raise failure.unreadable(response, asked, changes=changes)
