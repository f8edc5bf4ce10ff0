"""Does an answer take longer because there is something to hide? For `make torture`: it measures.

Each request is asked for what is hidden from the caller and for what never existed, in an order
that is drawn, over one connection. A rank test (Mann and Whitney) says whether one of the two
tends to be slower, the ratio of the medians by how much.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from random import Random

import httpx
import pytest
from fastapi import FastAPI

from service.identity import Role
from service.kernel.ids import new_id
from tests.access.house import build
from tests.support import World
from tests.wire import Wire

WANTED = pytest.mark.skipif("SNP_TORTURE_SECONDS" not in os.environ, reason="make torture")
_EACH = 1500
_LARGEST_RATIO = 1.25  # one more look into the database is a third at least

# Who asks, how, and for which thing.
_HIDDEN = (
    (Role.PHARMACIST, "own", "GET", "/v1/slots/{}", "slot"),
    (Role.REGULATOR, "far", "GET", "/v1/slots/{}", "slot"),
    (Role.PHARMACIST, "own", "POST", "/v1/slots/{}/holds", "slot"),
    (Role.PHARMACIST, "near", "GET", "/v1/bookings/{}", "booking"),
    (Role.REGULATOR, "own", "GET", "/v1/patient-files/{}", "file"),
    (Role.REGULATOR, "near", "GET", "/v1/calls/{}", "call"),
    (Role.DOCTOR, "near", "GET", "/v1/slots/{}/visibility", "slot"),
)


def rank_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the z of Mann and Whitney: 0 where neither tends to be larger."""
    order = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(rank for rank, (_, of) in enumerate(order, 1) if of == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def test_the_rank_test_tells_samples_apart() -> None:
    random = Random(1)
    same = [[random.gauss(10, 1) for _ in range(1000)] for _ in range(2)]
    later = [value + 0.5 for value in same[0]]
    assert abs(rank_test(*same)) < 3
    assert rank_test(later, same[1]) > 3


@WANTED
@pytest.mark.timeout(600)
async def test_what_is_hidden_takes_no_longer_than_what_never_existed(
    app: FastAPI, http: httpx.AsyncClient, base_url: str
) -> None:
    house = await build(await World(app.state.database, http).begin())
    tokens = {(s.caller.role, s.distance): s.caller.token for s in house.standings}
    url, random = httpx.URL(base_url), Random(1)
    wire = Wire(url.host, url.port or 80)
    told: list[str] = []
    for role, distance, method, path, thing in _HIDDEN:
        times: dict[bool, list[float]] = {True: [], False: []}
        kinds = [True, False] * _EACH
        random.shuffle(kinds)
        for hidden in kinds:
            target = path.format(house.things[thing] if hidden else new_id())
            request = (
                f"{method} {target} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {tokens[role, distance]}\r\n\r\n"
            ).encode()
            started = time.perf_counter()
            answer = await wire.send(request)
            times[hidden].append(time.perf_counter() - started)
            assert answer.status == 404, answer
        medians = {hidden: statistics.median(values) for hidden, values in times.items()}
        ratio, z = medians[True] / medians[False], rank_test(times[True], times[False])
        told.append(
            f"{method} {path.format(thing)} by {role} ({distance}): hidden"
            f" {medians[True] * 1e6:.0f} us, unknown {medians[False] * 1e6:.0f} us,"
            f" ratio {ratio:.3f}, z {z:+.1f}"
        )
        sys.stdout.write(f"{told[-1]}\n")
        assert 1 / _LARGEST_RATIO < ratio < _LARGEST_RATIO, told[-1]
    await wire.close()
