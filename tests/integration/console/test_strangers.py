"""Cookies that are not ours, links that lead away, and what other sites send."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

import jwt
from pydantic import SecretStr

from services.console.front import FORM_LIMIT_BYTES
from services.console.session import COOKIE, KEY_HOURS, Credential, Sealer
from shared import clock
from tests.integration.console.conftest import SECRET, URL, ConsoleOfTest

KEY = Credential("key", "bsk_1")


def sealed(hours_ago: float, secret: str = SECRET) -> str:
    then = int(clock.utc_now().timestamp() - hours_ago * 3600)
    fernet = Sealer([SecretStr(secret)])._fernet
    return fernet.encrypt_at_time(json.dumps(asdict(KEY)).encode(), then).decode()


NOT_OURS = [
    "",
    "bsk_1",
    "%00",
    sealed(0)[:60],
    sealed(0)[:-3] + "abc",
    sealed(0, "another secret, as long as it has to be, of others"),
    sealed(KEY_HOURS + 0.1),
    json.dumps(asdict(KEY)),
]


async def test_a_cookie_that_is_not_ours_signs_nobody_in(console: ConsoleOfTest) -> None:
    for cookie in NOT_OURS:
        answer = await console.browser.get("/account", headers={"Cookie": f"{COOKIE}={cookie}"})
        led_to = answer.headers.get("location")
        assert (answer.status_code, led_to) == (303, "/sign-in?next_page=%2Faccount"), cookie
    assert console.api.asked == []


async def test_a_cookie_of_ours_signs_in_until_its_hours_are_over(console: ConsoleOfTest) -> None:
    for cookie in (sealed(0), sealed(KEY_HOURS - 0.1)):
        answer = await console.browser.get("/account", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 200


LED_AWAY = [
    "//elsewhere.example/",
    "///elsewhere.example/",
    "/\\elsewhere.example",
    "\\\\elsewhere.example",
    "/\t/elsewhere.example",
    "/\n\\elsewhere.example",
    " //elsewhere.example",
    "https://elsewhere.example",
    "http:elsewhere.example",
    "javascript:alert(1)",
    "/\r\nSet-Cookie: a=b",
]


async def test_signing_in_leads_to_no_other_site(console: ConsoleOfTest) -> None:
    for given in LED_AWAY:
        form = {"key": "bsk_1", "next_page": given}
        answer = await console.browser.post("/sign-in", data=form, headers={"Origin": URL})
        led_to = answer.headers["location"]
        assert led_to.startswith("/"), given
        assert led_to[1:2] not in {"/", "\\", "\t", "\n", "\r"}, given
        assert list(answer.cookies) == [COOKIE], given


NO_KEYS = ["bsk_1\r\nX-Other: 1", "bsk_\N{LATIN SMALL LETTER U WITH DIAERESIS}", "a b", "x" * 501]


async def test_what_cannot_be_a_key_is_refused_in_words(console: ConsoleOfTest) -> None:
    for key in NO_KEYS:
        answer = await console.browser.post("/sign-in", data={"key": key}, headers={"Origin": URL})
        assert (answer.status_code, "This is no API key" in answer.text) == (401, True), key
    assert console.api.asked == []


FROM = ("https://elsewhere.example", "null", f"{URL}.elsewhere.example", f"{URL}:81", "file://")
CHANGING = (
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
    ("POST", "/session/renew"),
    ("POST", "/session/password"),
    ("POST", "/_nicegui/client/1/upload/1"),
    ("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"),
)


async def test_other_sites_change_nothing_and_listen_to_nothing(console: ConsoleOfTest) -> None:
    await console.sign_in()
    for method, address in CHANGING:
        for headers in (*({"Origin": origin} for origin in FROM), {"Sec-Fetch-Site": "cross-site"}):
            answer = await console.browser.request(method, address, headers=headers)
            told = (answer.status_code, answer.headers.get("access-control-allow-origin"))
            assert told == (403, None), (method, address, headers)


async def test_every_page_says_that_it_is_shown_in_no_frame_and_kept_nowhere(console: ConsoleOfTest) -> None:
    await console.sign_in()
    for address in ("/sign-in", "/account", "/inventory/abc", "/console/console.js"):
        answer = await console.browser.get(address)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], address
        assert answer.headers["x-content-type-options"] == "nosniff", address
    assert (await console.browser.get("/account")).headers["cache-control"] == "no-store"


async def test_nobody_fills_the_disk_through_a_form(console: ConsoleOfTest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="key"; filename="key"\r\n\r\n'
        for _ in range(FORM_LIMIT_BYTES // 1000 + 2):
            yield b"x" * 1000
        yield b"\r\n--x--\r\n"

    headers = {"Origin": URL, "Content-Type": "multipart/form-data; boundary=x"}
    said = await console.browser.post("/sign-in", content=b"x" * (FORM_LIMIT_BYTES + 1), headers=headers)
    assert (said.status_code, said.text) == (413, "This is too much at once.")
    in_chunks = await console.browser.post("/sign-in", content=endless(), headers=headers)
    assert in_chunks.status_code >= 400
    assert "string_type" not in in_chunks.text, "it was read to its end"


async def test_a_session_says_whose_it_is_and_nothing_that_signs_in(console: ConsoleOfTest) -> None:
    await console.sign_in()
    said = (await console.browser.post("/session/renew", headers={"Origin": URL})).json()
    page = (await console.browser.get("/account")).text
    assert said == {"signed_in": True, "holder": KEY.holder}
    assert f'data-holder="{KEY.holder}"' in page
    assert KEY.secret not in page
    others = {Credential("key", "bsk_2").holder, Credential("user", "bsk_1").holder}
    assert KEY.holder not in others


def test_all_tokens_of_a_user_have_one_holder() -> None:
    secret = "of catalog, which signs the tokens of users"
    tokens = [jwt.encode({"sub": sub, "iat": iat}, secret) for sub, iat in (("5", 1), ("5", 2), ("6", 1))]
    first, later, other = (Credential("user", token).holder for token in tokens)
    assert first == later != other
