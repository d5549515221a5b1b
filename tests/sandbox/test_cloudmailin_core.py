"""The CloudMailin dialect over real sockets: addresses, domains, incoming statuses."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx
import pytest
import trio
from trio.testing import MockClock

from engine.sandbox import Faults, Sandbox, serve

ADDRESS = "aaaa740b4c5c37b1aaaa"
DOMAIN = "aaaa111122223333"
TARGET = {"target": "https://harbour.example/in", "target_format": "json+n"}
OF_ADDRESS = {"address_id": ADDRESS}
PATHS = ("/addresses", "/incoming_statuses", "/custom_domains", "/sending_domains")


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an account in its CloudMailin API, with a token."""
    async with httpx.AsyncClient(
        base_url=f"{sandbox.base_url('cloudmailin')}/account",
        headers={"authorization": "Bearer token"},
        params=OF_ADDRESS,
        verify=False,
        trust_env=False,
    ) as client:
        yield client


async def listed(
    client: httpx.AsyncClient, path: str, **parameters: str
) -> list[dict[str, object]]:
    """List something."""
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return status and text of an answer that must be an error in their form."""
    content = answer.json()
    assert {"status", "error"} == set(content)
    assert answer.status_code == content["status"]
    return content["status"], content["error"]


async def test_an_address_lives_from_creation_to_deletion(
    client: httpx.AsyncClient,
) -> None:
    """An address is created, shown, listed, updated and deleted, field by field."""
    settings = TARGET | {"nickname": "replies", "attachments": {"store": "s3"}}
    answer = await client.post("/addresses", json=settings)
    address = answer.json()
    assert (201, 20) == (answer.status_code, len(address["id"]))
    assert int(address["id"], 16) >= 0
    assert settings | {"id": address["id"]} == address
    path = f"/addresses/{address['id']}"
    assert address == (await client.get(path)).json()
    assert [ADDRESS, address["id"]] == [
        each["id"] for each in await listed(client, "/addresses")
    ]
    change = {"target": "http://127.0.0.1:8000/", "target_format": "multipart+n"}
    for method in ("PUT", "PATCH"):
        answer = await client.request(method, path, json=change)
        expected = change | {"id": address["id"], "nickname": None, "attachments": {}}
        assert (200, expected) == (answer.status_code, answer.json())
    answer = await client.delete(path)
    assert (202, expected) == (answer.status_code, answer.json())
    assert (await client.get(path)).status_code == 404
    assert [ADDRESS] == [each["id"] for each in await listed(client, "/addresses")]


async def test_there_is_an_address_from_the_start(client: httpx.AsyncClient) -> None:
    """The document's own address is there, with the documented fields."""
    (address,) = await listed(client, "/addresses")
    assert address == {
        "id": ADDRESS,
        "target": "https://harbour.example/inbound",
        "target_format": "json+n",
        "nickname": None,
        "attachments": {},
    }


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"target": None}, "target is required"),
        ({"target_format": ""}, "target_format is required"),
        ({"target": "harbour.example"}, "target must be an http or https URL"),
        ({"target": "https://[x"}, "target must be an http or https URL"),
        ({"target": "ftp://x.example"}, "target must be an http or https URL"),
        ({"target": 5}, "target must be an http or https URL"),
        ({"target_format": "xml"}, "target_format must be one of json+n, multipart+n"),
        ({"nickname": 5}, "nickname must be a string or null"),
        ({"attachments": []}, "attachments must be an object"),
    ],
)
async def test_an_address_must_fit_its_form(
    client: httpx.AsyncClient, change: dict[str, object], error: str
) -> None:
    """A flaw is a 422 that names the field, at creation and at update."""
    for method, path in [("POST", "/addresses"), ("PUT", f"/addresses/{ADDRESS}")]:
        answer = await client.request(method, path, json=TARGET | change)
        assert (422, error) == refusal(answer)
    assert len(await listed(client, "/addresses")) == 1


async def test_statuses_are_listed_newest_first(client: httpx.AsyncClient) -> None:
    """What the first address received has the documented fields."""
    statuses = await listed(client, "/incoming_statuses")
    moments = [datetime.fromisoformat(status["created_at"]) for status in statuses]
    assert sorted(moments, reverse=True) == moments
    assert [200, "client_timeout", 422, 200] == [each["status"] for each in statuses]
    newest = statuses[0]
    assert newest == {
        "id": str(UUID(newest["id"])),
        "message_id": newest["message_id"],
        "to": f"{ADDRESS}@cloudmailin.net",
        "from": "ann@example.com",
        "status": 200,
        "subject": "Please stop",
        "tls": "TLSv1.3",
        "md5": newest["md5"],
        "created_at": newest["created_at"],
    }
    assert len(bytes.fromhex(newest["md5"])) == 16
    ids = [each["id"] for each in statuses]
    assert ids == [each["id"] for each in await listed(client, "/incoming_statuses")]


async def test_statuses_are_searched_and_paged(client: httpx.AsyncClient) -> None:
    """`query` and `page` choose among what was received."""
    for query, count in [("from:ann@example.com", 2), ("status:422", 1), ("zoe", 0)]:
        assert count == len(await listed(client, "/incoming_statuses", query=query))
    assert [] == await listed(client, "/incoming_statuses", page="2")
    answer = await client.get("/incoming_statuses", params={"page": "none"})
    assert (422, "page must be a whole number from 1") == refusal(answer)


async def test_a_new_address_has_received_nothing(client: httpx.AsyncClient) -> None:
    """An address that was created has neither messages nor domains."""
    address = (await client.post("/addresses", json=TARGET)).json()
    for path in ("/incoming_statuses", "/custom_domains"):
        assert [] == await listed(client, path, address_id=address["id"])


async def test_what_belongs_to_an_address_asks_for_it(
    client: httpx.AsyncClient,
) -> None:
    """Statuses and custom domains need an address: 422 without, 404 for a stranger."""
    for method, path in [
        ("GET", "/incoming_statuses"),
        ("GET", "/custom_domains"),
        ("POST", "/custom_domains"),
        ("GET", f"/custom_domains/{DOMAIN}"),
        ("DELETE", f"/custom_domains/{DOMAIN}"),
    ]:
        body = {"domain": "mail.example"}
        answer = await client.request(
            method, path, params={"address_id": ""}, json=body
        )
        assert (422, "address_id is required") == refusal(answer)
        other = {"address_id": "bbbb"}
        answer = await client.request(method, path, params=other, json=body)
        assert (404, "There is no address bbbb") == refusal(answer)


async def test_a_custom_domain_lives_from_creation_to_deletion(
    client: httpx.AsyncClient,
) -> None:
    """A custom domain is created, shown, listed and deleted, with all its fields."""
    settings = {
        "domain": "mail.example",
        "auth_regex": "allowed@mail.example",
        "domain_target": "https://harbour.example/other",
    }
    answer = await client.post("/custom_domains", json=settings)
    domain = answer.json()
    assert (201, 16) == (answer.status_code, len(domain["id"]))
    assert settings | {"id": domain["id"]} == domain
    path = f"/custom_domains/{domain['id']}"
    assert domain == (await client.get(path)).json()
    assert [domain["id"], DOMAIN] == [
        each["id"] for each in await listed(client, "/custom_domains")
    ]
    assert [domain] == await listed(client, "/custom_domains", query="Mail.ex")
    answer = await client.delete(path)
    assert (202, domain) == (answer.status_code, answer.json())
    assert (404, f"There is no custom domain {domain['id']}") == refusal(
        await client.get(path)
    )
    assert (await client.delete(path)).status_code == 404


async def test_the_least_custom_domain_is_a_name(client: httpx.AsyncClient) -> None:
    """Rules and target of its own are left out or null; the first one is so."""
    answer = await client.post("/custom_domains", json={"domain": "Mail.example"})
    domain = {"domain": "mail.example", "auth_regex": None, "domain_target": None}
    assert domain | {"id": answer.json()["id"]} == answer.json()
    assert (await client.get(f"/custom_domains/{DOMAIN}")).json() == {
        "id": DOMAIN,
        "domain": "example.com",
        "auth_regex": "allowed[0-9]*@example.com",
        "domain_target": None,
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "domain is required"),
        ({"domain": "localhost"}, "domain must be a domain"),
        ({"domain": "a@b.example"}, "domain must be a domain"),
        ({"domain": "example.com"}, "domain is already taken: example.com"),
        (
            {"domain": "unverified.example"},
            "domain must have its MX records set: unverified.example",
        ),
        ({"domain": "b.example", "auth_regex": 5}, "auth_regex must be a string"),
        ({"domain": "b.example", "domain_target": "x"}, "domain_target must be an"),
    ],
)
async def test_a_custom_domain_must_fit_its_form(
    client: httpx.AsyncClient, body: dict[str, object], error: str
) -> None:
    """A flaw is a 422 that names the field; so is a domain without MX records."""
    status, text = refusal(await client.post("/custom_domains", json=body))
    assert (422, error) == (status, text[: len(error)])


async def test_a_deleted_address_frees_its_domains(client: httpx.AsyncClient) -> None:
    """Another address can take a domain whose address is gone."""
    address = (await client.post("/addresses", json=TARGET)).json()
    await client.delete(f"/addresses/{ADDRESS}")
    of_other = {"address_id": address["id"]}
    answer = await client.post(
        "/custom_domains", params=of_other, json={"domain": "example.com"}
    )
    assert answer.status_code == 201


async def test_a_sending_domain_lives_from_creation_to_deletion(
    client: httpx.AsyncClient,
) -> None:
    """A sending domain is created, shown, listed, verified and deleted."""
    answer = await client.post("/sending_domains", json={"domain": "News.example"})
    domain = answer.json()
    selector = domain["dkim_selector"]
    key = domain["dkim_public_record"].removeprefix(
        "v=DKIM1; h=sha256; k=rsa; s=email; p="
    )
    assert (201, 16) == (answer.status_code, len(domain["id"]))
    assert len(base64.b64decode(key, validate=True)) == 294
    assert domain == {
        "id": domain["id"],
        "domain": "news.example",
        "mta_domain": "mta.news.example",
        "dkim_selector": selector,
        "dkim_domain": f"{selector}._domainkey.news.example",
        "dkim_public_record": domain["dkim_public_record"],
        "required_cname": "feedback-smtp.cloudmta.net",
        "dkim_verified": False,
        "return_path_verified": False,
        "spf_verified": False,
    }
    path = f"/sending_domains/{domain['id']}"
    assert domain == (await client.get(path)).json()
    assert [domain] == await listed(client, "/sending_domains", query="NEWS")
    verified = domain | dict.fromkeys(
        ("dkim_verified", "return_path_verified", "spf_verified"), True
    )
    answer = await client.post(f"{path}/verify")
    assert (200, verified) == (answer.status_code, answer.json())
    names = [each["domain"] for each in await listed(client, "/sending_domains")]
    assert ["news.example", "example.com"] == names
    answer = await client.delete(path)
    assert (202, verified) == (answer.status_code, answer.json())
    for method, gone in [("GET", path), ("DELETE", path), ("POST", f"{path}/verify")]:
        error = f"There is no sending domain {domain['id']}"
        assert (404, error) == refusal(await client.request(method, gone))


async def test_the_first_sending_domain_is_verified(client: httpx.AsyncClient) -> None:
    """From the start there is one domain to send from."""
    domain = (await client.get(f"/sending_domains/{DOMAIN}")).json()
    assert domain["domain"] == "example.com"
    assert domain["dkim_verified"] is True
    assert domain["return_path_verified"] is True
    assert domain["spf_verified"] is True


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("news.example", [(200, True, True), (200, True, True)]),
        ("pending.example", [(422, True, False), (200, True, True)]),
        ("unverified.example", [(422, False, False), (422, False, False)]),
    ],
)
async def test_a_failed_verification_is_a_422_with_the_domain(
    client: httpx.AsyncClient, name: str, answers: list[tuple[int, bool, bool]]
) -> None:
    """A domain verifies as its name begins, and what was found is in the object."""
    domain = (await client.post("/sending_domains", json={"domain": name})).json()
    path = f"/sending_domains/{domain['id']}"
    for status, dkim, return_path in answers:
        answer = await client.post(f"{path}/verify")
        expected = domain | {
            "dkim_verified": dkim,
            "return_path_verified": return_path,
            "spf_verified": dkim,
        }
        assert (status, expected) == (answer.status_code, answer.json())
        assert expected == (await client.get(path)).json()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "domain is required"),
        ({"domain": "-.example"}, "domain must be a domain"),
        ({"domain": ["b.example"]}, "domain must be a domain"),
        ({"domain": "Example.com"}, "domain is already taken: example.com"),
    ],
)
async def test_a_sending_domain_must_fit_its_form(
    client: httpx.AsyncClient, body: dict[str, object], error: str
) -> None:
    """A flaw is a 422 that names the field."""
    answer = await client.post("/sending_domains", json=body)
    assert (422, error) == refusal(answer)


async def test_bodies_are_read_as_those_of_messages(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """No JSON is a 400, no object a 422, unknown fields a 422 only when strict."""
    json = {"content-type": "application/json"}
    for body, headers, status in [
        (b"{", json, 400),
        (b"[]", json, 422),
        (b"domain=a.example", {}, 422),
    ]:
        answer = await client.post("/sending_domains", content=body, headers=headers)
        assert status == refusal(answer)[0]
    other = {"domain": "a.example", "region": "eu"}
    sandbox.faults = Faults(strict=True)
    answer = await client.post("/sending_domains", json=other)
    assert (422, "region is not a field") == refusal(answer)
    sandbox.faults = Faults()
    answer = await client.post("/sending_domains", json=other)
    assert (201, False) == (answer.status_code, "region" in answer.json())


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic eDo=", "Basic ä", "Basic x"]
)
async def test_a_token_is_required(
    client: httpx.AsyncClient, authorization: str
) -> None:
    """Without a token, or with the wrong one, every part of the Core API is a 401."""
    headers = {"authorization": authorization.encode()}
    for path in (*PATHS, "/outbound_messages", "/outbound_messages/x"):
        answer = await client.get(path, headers=headers)
        assert (401, "Invalid or missing API token") == refusal(answer)


async def test_a_token_may_be_a_password(client: httpx.AsyncClient) -> None:
    """HTTP Basic with the token works for the Core API; the wrong account does not."""
    answer = await client.get("/addresses", headers={}, auth=("account", "token"))
    assert answer.status_code == 200
    root = str(client.base_url).removesuffix("account/")
    answer = await client.get(f"{root}wrong/addresses")
    assert (401, "Invalid or missing API token") == refusal(answer)


async def test_other_paths_and_methods_are_not_found(client: httpx.AsyncClient) -> None:
    """What the document does not have is a 404 in its form."""
    root = str(client.base_url).removesuffix("account/")
    for method, path in [
        ("GET", f"{root}account"),
        ("GET", f"{root}/addresses"),
        ("GET", "/inbound"),
        ("DELETE", "/addresses"),
        ("GET", f"/addresses/{ADDRESS}/verify"),
        ("GET", f"/incoming_statuses/{ADDRESS}"),
        ("PUT", f"/custom_domains/{DOMAIN}"),
        ("GET", f"/sending_domains/{DOMAIN}/verify"),
        ("POST", "/outbound_messages"),
        ("DELETE", "/outbound_messages/x"),
    ]:
        answer = await client.request(method, path)
        assert refusal(answer)[0] == 404
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "/addresses/bbbb", json=TARGET)
        assert (404, "There is no address bbbb") == refusal(answer)
    assert len(await listed(client, "/addresses")) == 1


@pytest.mark.parametrize("style", ["seconds", "date", "none"])
async def test_calls_can_be_limited(
    mock_clock: MockClock, sandbox: Sandbox, client: httpx.AsyncClient, style: str
) -> None:
    """Of more calls in a minute than the limit, the rest is a 429; sending goes on."""
    sandbox.dialect("cloudmailin").core.calls_per_minute = 5
    sandbox.faults = Faults(throttle_style=style)
    for place in range(5):
        assert (await client.get(PATHS[place % 4])).status_code == 200
        mock_clock.jump(1)
    answer = await client.get("/addresses")
    assert (429, "At most 5 calls a minute") == refusal(answer)
    hint = answer.headers.get("retry-after")
    if style == "date":
        sent = parsedate_to_datetime(answer.headers["date"])
        assert 55 <= (parsedate_to_datetime(hint) - sent).total_seconds() <= 57
    else:
        assert {"seconds": "55", "none": None}[style] == hint
    mail = {"from": "a@x.example", "to": "b@x.example", "plain": "Hi"}
    assert (await client.post("/messages", json=mail)).status_code == 202
    mock_clock.jump(54.5)
    assert (await client.get("/addresses")).status_code == 429
    mock_clock.jump(0.5)
    assert (await client.get("/addresses")).status_code == 200
    assert (await client.get("/addresses")).status_code == 429


async def test_calls_are_not_limited_unless_asked(client: httpx.AsyncClient) -> None:
    """Without a limit the Core API answers as often as it is asked."""
    statuses = [(await client.get("/addresses")).status_code for _ in range(20)]
    assert {200} == set(statuses)


async def test_a_reset_forgets_what_was_created(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """After a reset there is what there was at the start."""
    await client.post("/addresses", json=TARGET)
    await client.delete(f"/sending_domains/{DOMAIN}")
    sandbox.reset()
    assert [ADDRESS] == [each["id"] for each in await listed(client, "/addresses")]
    assert [DOMAIN] == [each["id"] for each in await listed(client, "/sending_domains")]
