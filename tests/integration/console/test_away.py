"""The API away, or answering what it should not: words for people, and a status for programs."""

from aiohttp import web

from tests.integration.console.conftest import URL, ConsoleOfTest


async def test_a_page_says_that_basestock_does_not_answer(console: ConsoleOfTest) -> None:
    await console.sign_in()
    for status, body in ((503, {"detail": "Orders is starting.", "code": "not_ready"}), (502, "<html>bad gateway")):
        for path in ("/v1/me", "/v1/stock/summary"):
            kept = console.api.answers.get(path)
            console.api.answers[path] = (status, body)
            answer = await console.browser.get("/")
            assert answer.status_code == status, path
            assert "Try again" in answer.text, path
            console.api.answers.pop(path)
            console.api.answers |= {path: kept} if kept else {}


async def test_json_that_is_none_is_no_answer(console: ConsoleOfTest) -> None:
    await console.sign_in()

    async def broken(_: web.Request) -> web.Response:
        return web.Response(text='{"role": "supp', content_type="application/json")

    console.api.instead = broken
    for address in ("/", "/account"):
        answer = await console.browser.get(address)
        assert (answer.status_code, "does not answer" in answer.text) == (502, True), address
    signing_in = await console.browser.post("/sign-in", data={"key": "bsk_1"}, headers={"Origin": URL})
    assert (signing_in.status_code, "does not answer" in signing_in.text) == (502, True)


async def test_a_page_whose_session_ends_while_it_is_drawn_leads_to_the_sign_in(console: ConsoleOfTest) -> None:
    await console.sign_in()
    console.api.answers["/v1/stock/summary"] = (401, {"detail": "This key is revoked.", "code": "unauthorized"})
    answer = await console.browser.get("/?x=1")
    assert (answer.status_code, answer.headers.get("location")) == (303, "/sign-in?next_page=%2F%3Fx%3D1")
