"""The provider's side: what it accepted, and what it says about it.

Written from the documents of the API, not from our reading of it: it shares no line
with `engine.providers`. The truth about who was mailed is kept here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
from simulation.scenario import Scenario
from simulation.world import World

#: Seconds for which a key is remembered.
KEY_SECONDS = 1800.0
#: Header of a key, as the draft of the IETF has it.
KEY = "Idempotency-Key"
#: Seconds that a request which nobody waits for any more is late at most.
_LATEST = 90.0

Answer = tuple[int, dict[str, str], bytes]
Mail = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request that arrived whole."""

    body: bytes
    key: str | None

    def mails(self) -> list[Mail]:
        """Return the messages; a request to `/send` is one itself."""
        read = orjson.loads(self.body)
        return read.get("messages", [read])

    def rows(self) -> list[int]:
        """Return the row of each message."""
        return [int(mail["custom_args"]["row"]) for mail in self.mails()]


@dataclass(frozen=True, slots=True)
class _Saved:
    body: bytes
    answer: Answer
    at: float


class Service:
    """A provider with moods.

    Attributes:
        accepted: for each message id, when it was accepted, and the id it was given.
        asked: seconds that the last 429 or 503 asked for, or None.
    """

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.accepted: dict[str, list[tuple[float, str]]] = {}
        self.asked: float | None = None
        self._world = world
        self._scenario = scenario
        self._saved: dict[str, _Saved] = {}
        self._late: list[tuple[float, Incoming]] = []
        self._throttled_until = 0.0
        self._locked = False
        self._calm = False
        self._requests = 0
        # A clock of its own, up to an hour off.
        self._skew = world.random.uniform(-3600, 3600)

    def calm(self) -> None:
        """Have no more faults."""
        self._calm = True
        self._throttled_until = 0.0

    def mend(self) -> None:
        """Take the account's credentials again."""
        self._locked = False

    def mood(self, incoming: Incoming) -> str:
        """Draw what befalls the next request; "" is nothing."""
        self._requests += 1
        scenario, lots = self._scenario, self._world.random
        if self._calm:
            return ""
        if scenario.cursed is not None and scenario.cursed[0] in incoming.rows():
            return scenario.cursed[1]
        if scenario.script:
            return scenario.script.get(self._requests, "")
        return lots.choice(scenario.faults) if lots.random() < scenario.rate else ""

    def abandon(self, incoming: Incoming) -> None:
        """Take a request whose sender is gone: never, at once, or somewhat later."""
        chance = self._world.random.random()
        if chance < 1 / 3:
            return
        delay = 0.0 if chance < 2 / 3 else self._world.random.uniform(0, _LATEST)
        self._late.append((self._world.now() + delay, incoming))

    def catch_up(self, until: float) -> None:
        """Process the late requests that are due."""
        due = sorted((late for late in self._late if late[0] <= until), key=_moment)
        self._late = [late for late in self._late if late[0] > until]
        for at, incoming in due:
            self._world.log(f"processed late, at {at:.3f}")
            self._process(incoming, at, "")

    def process(self, incoming: Incoming, mood: str) -> Answer:
        """Process a request and answer it."""
        now = self._world.now()
        self.catch_up(now)
        self.asked = None
        refusal = self._refuse(mood, now)
        if refusal is not None:
            return refusal
        return self._process(incoming, now, mood)

    # --- refusals that look at nothing

    def _refuse(self, mood: str, now: float) -> Answer | None:
        if mood == "401":
            self._locked = True
        if self._locked:
            return _error(401, "Unauthorized")
        if now < self._throttled_until:
            mood = "429_seconds"
            self.asked = float(-(-(self._throttled_until - now) // 1))
        elif mood in _ASKING:
            self.asked = float(self._world.random.choice(_ASKING[mood]))
        if self.asked is None:
            return _PLAIN.get(mood)
        self._throttled_until = max(self._throttled_until, now + self.asked)
        if mood == "429_date":
            return _error(429, "Rate Limited", self._date(self.asked))
        status = 503 if mood == "503_retry_after" else 429
        return _error(status, "Not now", {"retry-after": f"{self.asked:g}"})

    def _date(self, seconds: float) -> dict[str, str]:
        here = self._world.utc() + timedelta(seconds=self._skew)
        here = here.replace(microsecond=0)
        later = here + timedelta(seconds=seconds)
        return {"date": _http(here), "retry-after": _http(later)}

    # --- requests that are read

    def _process(self, incoming: Incoming, now: float, mood: str) -> Answer:
        key = incoming.key if self._scenario.keyed else None
        if key is not None:
            self._saved = {
                name: saved
                for name, saved in self._saved.items()
                if now - saved.at < KEY_SECONDS
            }
            if key in self._saved:
                if self._saved[key].body != incoming.body:
                    return _error(422, "Key used with another body")
                return self._garbled(self._saved[key].answer, mood)
        answer = self._accept(incoming, now, mood)
        if key is not None and answer[0] in range(200, 300):
            self._saved[key] = _Saved(incoming.body, answer, now)
        return self._garbled(answer, mood)

    def _accept(self, incoming: Incoming, now: float, mood: str) -> Answer:
        scenario, mails, rows = self._scenario, incoming.mails(), incoming.rows()
        if scenario.most is not None and len(mails) > scenario.most:
            return _error(413, "Too Large")
        for place, row in enumerate(rows):
            if row in scenario.poison:
                return _error(400, f"messages[{place}].to is malformed")
        refused = [row in scenario.refused for row in rows]
        if mood == "partial":
            refused = [no or self._world.random.random() < 1 / 2 for no in refused]
        ids: list[str | None] = []
        for mail, no in zip(mails, refused, strict=True):
            ids.append(None if no else self._take(mail, now))
        self._world.log(f"accepted {[r for r, i in zip(rows, ids, strict=True) if i]}")
        return self._say(mails, ids, mood)

    def _take(self, mail: Mail, now: float) -> str:
        name = mail["custom_args"]["message_id"]
        times = self.accepted.setdefault(name, [])
        given = f"m-{len(self.accepted)}-{len(times)}"
        times.append((now, given))
        return given

    # --- answers, in the forms that such APIs are known to have

    def _say(self, mails: list[Mail], ids: list[str | None], mood: str) -> Answer:
        items: list[Mail] = [
            {"message_id": given, "status": "queued", "to": mail["to"]}
            if given
            else {
                "status": "rejected",
                "to": mail["to"],
                "error": {"code": "invalid_recipient", "message": "no such mailbox"},
            }
            for mail, given in zip(mails, ids, strict=True)
        ]
        lots = self._world.random
        if mood == "short":
            items.pop(lots.randrange(len(items)))
        if mood == "long":
            stray = {
                "message_id": "m-stray",
                "status": "queued",
                "to": "x@stray.example",
            }
            items.insert(lots.randint(0, len(items)), stray)
        forms = ["objects", "results", "data", "shuffled"]
        if None not in ids and mood not in {"short", "long"}:
            forms += ["ids", "list", "batch", "silence"]
        return self._form(lots.choice(forms), items, mails, ids)

    def _form(
        self, form: str, items: list[Mail], mails: list[Mail], ids: list[str | None]
    ) -> Answer:
        if form == "silence":
            return 202, {}, b""
        if form == "shuffled":
            self._world.random.shuffle(items)
        told = {
            "results": {"results": items},
            "data": {"success": True, "data": {"messages": items}},
            "ids": {"message_ids": ids},
            "list": ids,
            "batch": {"batch_id": "b-1", "status": "queued", "count": len(mails)},
        }
        return _ok(told.get(form, {"messages": items}))

    def _garbled(self, answer: Answer, mood: str) -> Answer:
        match mood:
            case "500_after":
                return _error(500, "Server Error")
            case "garbage":
                page = b"<html><title>Gateway Time-out</title></html>"
                noise = (b"", page, b'{"messages": [', b"null", b'{"status": "eh"}')
                return 200, {}, self._world.random.choice(noise)
        return answer


def _ok(said: object) -> Answer:
    return 200, {"content-type": "application/json"}, orjson.dumps(said)


def _error(status: int, said: str, headers: dict[str, str] | None = None) -> Answer:
    return status, headers or {}, orjson.dumps({"error": said})


def _http(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _moment(late: tuple[float, Incoming]) -> float:
    return late[0]


#: Answers that ask for a pause, and the seconds that they may ask for.
_ASKING = {
    "429_seconds": (0, 1, 3, 30, 850),
    "429_date": (0, 1, 3, 30, 850),
    "429_long": (901, 4000),
    "503_retry_after": (0, 1, 3, 30, 850),
}
#: Answers that do not.
_PLAIN = {
    "429_none": _error(429, "Rate Limited"),
    "503_bare": (503, {}, b"<html><title>Bad proxy</title></html>"),
    "500_before": _error(500, "Server Error"),
}
