"""Keyset pages: walked to the end, each row comes once; a cursor fits one list only."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kernel.ids import new_id
from service.kernel.paging import CursorInvalid, Page, PageRequest, instant
from tests.support import World, problem, soon

Row = tuple[int, int]


def _page(rows: Sequence[Row], limit: int, cursor: str | None) -> Page[Row]:
    """Answer one page of a list as a repository does: the rows after the keys, one too many."""
    request = PageRequest(limit, cursor, {"list": "rows"})
    after = request.after(int, int)
    left = [row for row in sorted(rows) if after is None or list(row) > after]
    return request.page(left[: limit + 1], lambda row: row)


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(-9, 9))), st.integers(1, 7))
def test_walking_the_pages_gives_every_row_once(rows: set[Row], limit: int) -> None:
    walked: list[Row] = []
    page = _page(list(rows), limit, None)
    walked += page.items
    while page.next_cursor is not None:
        assert len(page.items) == limit
        page = _page(list(rows), limit, page.next_cursor)
        walked += page.items
    assert walked == sorted(rows)


def _cursor(filter_: dict[str, Any], keys: Sequence[Any]) -> str:
    cursor = PageRequest(1, None, filter_).page([1, 2], lambda _: keys).next_cursor
    assert cursor is not None
    return cursor


@given(st.data())
def test_a_cursor_cut_or_changed_is_refused_or_means_the_same(data: st.DataObject) -> None:
    filter_ = {"mode": "AMB"}
    keys = [datetime(2026, 1, 1, tzinfo=UTC).isoformat(), str(new_id())]
    cursor = _cursor(filter_, keys)
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.characters())
    for wrong in (cursor[:at], cursor[:at] + letter + cursor[at + 1 :]):
        try:
            after = PageRequest(1, wrong, filter_).after(instant, UUID)
        except CursorInvalid:
            continue
        # A letter inside a key may make another readable key; never something of another kind.
        assert after is not None
        assert [type(key) for key in after] == [datetime, UUID]


@given(st.text())
def test_any_text_is_refused_as_a_cursor(text: str) -> None:
    with pytest.raises(CursorInvalid):
        PageRequest(1, text, {}).after()


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["2026-01-01T00:00:00+00:00"],
        ["2026-01-01T00:00:00+00:00", str(UUID(int=1)), 1],
        ["2026-01-01T00:00:00", str(UUID(int=1))],
        ["0001-01-01T00:00:00+14:00", str(UUID(int=1))],
        ["yesterday", str(UUID(int=1))],
        [5, str(UUID(int=1))],
        ["2026-01-01T00:00:00+00:00", 5],
        [None, None],
        [{}, []],
    ],
)
def test_keys_that_somebody_wrote_into_a_cursor_are_refused(keys: list[Any]) -> None:
    with pytest.raises(CursorInvalid):
        PageRequest(1, _cursor({}, keys), {}).after(instant, UUID)


def test_a_cursor_of_another_filter_is_refused() -> None:
    cursor = _cursor({"mode": "AMB", "from": None}, [1])
    assert PageRequest(1, cursor, {"from": None, "mode": "AMB"}).after(int) == [1]
    for other in ({"mode": "VR", "from": None}, {"mode": "AMB"}, {}):
        with pytest.raises(CursorInvalid):
            PageRequest(1, cursor, other).after(int)


async def test_a_forged_cursor_is_malformed_and_never_a_defect(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for n in range(2):
        await doctor.publish(soon(2 + n))
    agenda = f"/v1/practitioners/{doctor.practitioner_id}/slots"
    for caller, path, params in (
        (regulator, "/v1/slots", {"near": "46.81,1.69", "sort": "distance"}),
        (regulator, "/v1/slots", {}),
        (doctor, agenda, {}),
    ):
        page = await caller.get(path, params={**params, "limit": 1})
        cursor = page.json()["next_cursor"]
        fingerprint, keys = orjson.loads(base64.urlsafe_b64decode(cursor + "=="))
        forged = [["x"] * len(keys), keys[:-1], [None] * len(keys), [[]], [*keys, "x"], "x", 7]
        wrong = [base64.urlsafe_b64encode(orjson.dumps([fingerprint, k])).decode() for k in forged]
        wrong += [cursor[:-3], cursor[3:], "x", "é", "{}", "bnVsbA"]
        for cursor_ in wrong:
            answer = await caller.get(path, params={**params, "limit": 1, "cursor": cursor_})
            problem(answer, 400, "invalid-cursor")
