"""What programs, proxies and people are told about an address: its status, and words in place of a failure."""

from tests.integration.console.conftest import ConsoleOfTest

ID = "00000000-0000-0000-0000-000000000000"


async def test_what_the_api_does_not_show_is_a_page_with_its_status(console: ConsoleOfTest) -> None:
    for address in ["/inventory/100", f"/orders/{ID}", "/products/0", "/webhooks/1", "/inventory/imports/3"]:
        await console.sign_in()
        answer = await console.browser.get(address)
        assert (answer.status_code, "Nothing is here" in answer.text) == (404, True)


async def test_a_page_of_others_says_403(console: ConsoleOfTest) -> None:
    for address in ["/platform/audit", "/platform/companies/1", "/suppliers"]:
        await console.sign_in()
        answer = await console.browser.get(address)
        assert (answer.status_code, "This page is not for you" in answer.text) == (403, True)


async def test_no_page_has_the_address(console: ConsoleOfTest) -> None:
    for address in [
        "/inventory/abc",
        "/inventory/-1",
        "/inventory/imports/%2E%2E",
        "/inventory/imports/x%3Fy",
        "/products/abc",
        "/orders/x",
    ]:
        await console.sign_in()
        console.api.asked.clear()
        answer = await console.browser.get(address)
        assert (answer.status_code, "No page has this address" in answer.text) == (404, True)
        assert console.api.asked == [], "what is in an address never chooses what is asked of the API"


async def test_no_page_is_made_for_who_is_not_signed_in(console: ConsoleOfTest) -> None:
    assert (await console.browser.get("/company")).headers["location"] == "/sign-in?next_page=%2Fcompany"
    assert (await console.browser.get("/company/nothing")).status_code == 404


async def test_an_endless_number_in_an_address_is_refused_in_words(console: ConsoleOfTest) -> None:
    for address in [f"/products/{'9' * 5000}", f"/orders/import?id={'9' * 5000}"]:
        await console.sign_in()
        answer = await console.browser.get(address)
        assert (answer.status_code, answer.text) == (414, "This address is too long.")


async def test_a_dead_letter_is_of_one_of_the_services(console: ConsoleOfTest) -> None:
    console.api.answers["/v1/me"] = (
        200,
        {"role": "admin", "company": None, "user": None, "key_id": None, "scopes": []},
    )
    await console.sign_in()
    answer = await console.browser.get(f"/platform/dead-letters/x%3Fy/{ID}")
    assert (answer.status_code, "The services are catalog" in answer.text) == (404, True)


async def test_an_export_passes_any_filter_on(console: ConsoleOfTest) -> None:
    await console.sign_in()
    console.api.answers["/v1/stock/export"] = (200, ["sku"])
    answer = await console.browser.get("/inventory/export.csv?path=/v1/companies&self=1&query=2&q=shirt")
    assert answer.status_code == 200
    assert console.api.asked[-1].path_qs == "/v1/stock/export?path=/v1/companies&self=1&query=2&q=shirt"


async def test_an_answer_that_no_page_expects_is_told_within_the_frame(console: ConsoleOfTest) -> None:
    await console.sign_in()
    console.api.answers["/v1/stock/summary"] = (200, ["what is this?"])
    answer = await console.browser.get("/")
    assert (answer.status_code, "Something went wrong here" in answer.text) == (500, True)
    assert "Sign out" in answer.text
