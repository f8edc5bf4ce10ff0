"""What a person sees who follows an address of the service: the text of a problem, the docs."""

import re

import httpx

from service.kernel.errors import DomainError
from service.slots import SlotTaken
from tests.support import World, problem


async def test_a_problem_has_a_page_at_the_address_that_is_its_type(
    world: World, http: httpx.AsyncClient
) -> None:
    regulator = await world.regulator()
    refused = problem(await regulator.get("/v1/slots?colour=red"), 422, "unknown-parameter")
    page = await http.get(refused["type"])
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert refused["title"] in page.text
    for word in ("unknown-parameter", "422"):
        assert word in page.text
    taken = (await http.get("/problems/slot-taken")).text
    assert SlotTaken.title in taken
    assert "409" in taken


async def test_every_refusal_has_a_page_and_nothing_else(http: httpx.AsyncClient) -> None:
    def codes(base: type[DomainError]) -> set[str]:
        below = set().union(*(codes(each) for each in base.__subclasses__()))
        return below | ({base.code} if hasattr(base, "code") else set())

    known = codes(DomainError) | {"method-not-allowed", "defect"}
    assert len(known) > 50
    for code in known:
        page = await http.get(f"/problems/{code}")
        assert (page.status_code, page.text.count("<h1>")) == (200, 1), code
        assert not re.search(r"[`]|None", page.text), code
    for code in ("nothing", "<b>", "%3Cscript%3E"):
        answer = await http.get(f"/problems/{code}")
        assert "script" not in str(problem(answer, 404, "not-found"))


async def test_the_first_page_is_the_documentation(http: httpx.AsyncClient) -> None:
    first = await http.get("/")
    assert (first.status_code, first.headers["location"]) == (307, "/docs")
    assert (await http.get(first.headers["location"])).status_code == 200
