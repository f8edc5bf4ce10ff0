"""Random regulators, pharmacists and doctors on few slots: legal, illegal, hasty, forgetful.

Everybody knows what everybody else did (`Board`), so that they meet on the same slots. The order of
calls between actors is the machine's; what each one draws is its seed's.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from service.kernel.ids import new_id
from tests.history.record import Call, History, Outcome
from tests.support import Caller, patient

TIMEOUT = 30.0
_KEPT = (
    "id", "state", "version", "capacity", "overbooking", "booked", "held", "remaining",
    "expires_at", "starts_at", "case_id",
)  # fmt: skip
_TRIES = 4
# What makes a body another one: sent with a key that was used, it must be refused.
_OTHERWISE: dict[str, dict[str, Any]] = {
    "publish": {"note": "autre"},
    "hold": {"seconds": 7},
    "book": {"reason": {"text": "autre"}},
    "cancel": {"reason": "autre"},
    "reschedule": {"hold_id": "00000000-0000-7000-8000-000000000000"},
}
_OPEN_SLOTS = 5  # of one doctor: few, so that callers meet


@dataclass
class KnownSlot:
    """A slot as somebody saw it last."""

    id: str
    doctor: str
    starts_at: datetime
    version: int
    withdrawn: bool = False

    @property
    def started(self) -> bool:
        """Tell whether it has begun."""
        return self.starts_at <= datetime.now(UTC)


@dataclass
class KnownBooking:
    """A booking as somebody saw it last."""

    id: str
    slot_id: str
    organization: str
    doctor: str
    version: int = 1
    reported: bool = False


@dataclass
class KnownHold:
    """A hold that somebody got."""

    id: str
    slot_id: str


@dataclass
class Board:
    """What the actors know of each other."""

    slots: dict[str, KnownSlot] = field(default_factory=dict)
    bookings: dict[str, KnownBooking] = field(default_factory=dict)
    holds: dict[str, KnownHold] = field(default_factory=dict)

    def open_slots(self) -> list[KnownSlot]:
        """The slots worth trying, and now and then one that is not."""
        return [s for s in self.slots.values() if not s.withdrawn and not s.started]

    def tidy(self) -> None:
        """Forget what began long ago, so that the slots in play stay few."""
        long_ago = datetime.now(UTC) - timedelta(seconds=20)
        self.slots = {
            k: s for k, s in self.slots.items() if s.starts_at > long_ago and not s.withdrawn
        }
        self.bookings = {k: b for k, b in self.bookings.items() if b.slot_id in self.slots}
        self.holds = {k: h for k, h in self.holds.items() if h.slot_id in self.slots}


@dataclass
class Operation:
    """Something that an actor wants, tried once or several times."""

    kind: str
    method: str
    path: str
    body: dict[str, Any] | None
    asked: dict[str, Any]
    key: str | None = None
    if_match: str | None = None
    id: str = field(default_factory=lambda: new_id().hex)


class Actor:
    """One piece of client software at work."""

    def __init__(
        self,
        name: str,
        caller: Caller,
        chance: random.Random,
        *,
        servers: Sequence[str],
        history: History,
        board: Board,
    ) -> None:
        self.name = name
        self.caller = caller
        self.chance = chance
        self.servers = servers
        self.history = history
        self.board = board
        self.unsettled: list[Operation] = []
        self._https = [
            httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) for url in servers
        ]

    @property
    def organization_id(self) -> str:
        """The organization it works for."""
        return str(self.caller.organization_id)

    async def close(self) -> None:
        """Close its connections."""
        for http in self._https:
            await http.aclose()

    async def work(self, done: asyncio.Event) -> None:
        """Do one random thing after the other until it is enough."""
        while not done.is_set():
            await self.act()
            await asyncio.sleep(self.chance.uniform(0, 0.03))

    async def act(self) -> None:
        """Do one random thing."""
        choices = self.choices()
        act = self.chance.choices([c for c, _ in choices], [w for _, w in choices])[0]
        await act()

    def choices(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """What it may do, with weights."""
        raise NotImplementedError

    # --- calling ---

    async def once(self, op: Operation, *, hasty: float | None = None) -> Call:
        """Call one server once; `hasty`: leave after so many seconds, whatever comes."""
        call_id = new_id().hex
        headers = {"Authorization": f"Bearer {self.caller.token}", "X-Request-Id": call_id}
        if op.key is not None:
            headers["Idempotency-Key"] = op.key
        if op.if_match is not None:
            headers["If-Match"] = op.if_match
        started = time.monotonic()
        answer: httpx.Response | None = None
        lost: str | None = None
        try:
            http = self.chance.choice(self._https)
            sent = http.request(op.method, op.path, json=op.body, headers=headers)
            answer = await asyncio.wait_for(sent, hasty)
        except TimeoutError:
            lost = "dropped"
        except httpx.ConnectError:
            lost = "unsent"
        except httpx.TimeoutException:
            lost = "timeout"
        except httpx.TransportError as error:
            lost = type(error).__name__
        call = self._call(op, call_id, started, answer, lost)
        self.history.add(call)
        return call

    def _call(
        self,
        op: Operation,
        call_id: str,
        started: float,
        answer: httpx.Response | None,
        lost: str | None,
    ) -> Call:
        told = _body(answer)
        kept = {name: told[name] for name in _KEPT if name in told}
        slot = told.get("slot")
        if isinstance(slot, dict):
            kept["slot_id"] = slot["id"]
        return Call(
            id=call_id,
            operation=op.id,
            kind=op.kind,
            actor=self.name,
            organization_id=self.organization_id,
            client_id=str(self.caller.secret.client_id),
            method=op.method,
            path=op.path,
            started=started,
            ended=time.monotonic(),
            key=op.key,
            asked=op.asked,
            status=None if answer is None else answer.status_code,
            code=told.get("code"),
            replayed=answer is not None and "Idempotency-Replayed" in answer.headers,
            retry_after=None if answer is None else answer.headers.get("Retry-After"),
            answer=kept,
            lost=lost,
        )

    async def do(self, op: Operation) -> Call:
        """Do something as real software does: sometimes hasty, twice at once, or once too often."""
        fate = self.chance.random()
        if fate < 0.08:
            call = await self.once(op, hasty=self.chance.uniform(0, 0.03))
        elif fate < 0.14 and op.key is not None:
            call, _ = await asyncio.gather(self.once(op), self.once(op))
        else:
            call = await self.once(op)
        call = await self._again(op, call)
        if call.outcome is Outcome.DONE and op.key is not None and self.chance.random() < 0.1:
            await self._once_too_often(op)
        return call

    async def _again(self, op: Operation, call: Call) -> Call:
        if op.key is None:
            return call
        for _ in range(_TRIES):
            if call.outcome not in {Outcome.UNKNOWN, Outcome.UNSENT}:
                return call
            await asyncio.sleep(self.chance.uniform(0.05, 0.4))
            call = await self.once(op)
        if call.outcome in {Outcome.UNKNOWN, Outcome.UNSENT}:
            self.unsettled.append(op)
        return call

    async def _once_too_often(self, op: Operation) -> None:
        if self.chance.random() < 0.3 and op.body is not None:
            other = {**op.body, **_OTHERWISE[op.kind]}
            await self.once(replace(op, body=other))
        else:
            await self.once(op)

    async def settle(self) -> None:
        """Ask again what is still unknown, until it is known."""
        deadline = time.monotonic() + 60
        while self.unsettled:
            op = self.unsettled.pop()
            call = await self.once(op)
            if call.outcome in {Outcome.UNKNOWN, Outcome.UNSENT}:
                assert time.monotonic() < deadline, f"{op.kind} stays unknown: {call}"
                self.unsettled.append(op)
                await asyncio.sleep(0.2)

    # --- what several roles do ---

    def _pick_slot(self) -> KnownSlot | None:
        open_now = self.board.open_slots()
        if not open_now or self.chance.random() < 0.05:
            return self.chance.choice(list(self.board.slots.values()) or [None])
        return self.chance.choice(open_now)

    def _key(self) -> str | None:
        return new_id().hex if self.chance.random() < 0.9 else None

    def _pick_booking(self) -> KnownBooking | None:
        """A booking of its own side, now and then anybody's."""
        every = list(self.board.bookings.values())
        ours = [b for b in every if self.name == b.doctor or self.organization_id == b.organization]
        return self.chance.choice((every if self.chance.random() < 0.1 else ours) or [None])

    async def cancel(self) -> None:
        """Give an appointment up; whether it still can be is not looked at."""
        booking = self._pick_booking()
        if booking is None:
            return
        by = self.chance.choice(["patient", "patient", "requester", "doctor"])
        call = await self.do(
            Operation(
                "cancel",
                "POST",
                f"/v1/bookings/{booking.id}/cancellation",
                {"by": by},
                {"booking_id": booking.id},
                self._key(),
            )
        )
        if call.outcome is Outcome.DONE:
            self.board.bookings.pop(booking.id, None)


def _body(answer: httpx.Response | None) -> dict[str, Any]:
    if answer is None or not answer.content:
        return {}
    body: dict[str, Any] = answer.json()
    return body


class Booker(Actor):
    """A regulator or a pharmacist."""

    def choices(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """Mostly hold and book."""
        return [
            (self.book, 8),
            (self.hold, 4),
            (self.hold_and_book, 5),
            (self.release, 1),
            (self.cancel, 2),
            (self.reschedule, 4),
            (self.swap, 2),
        ]

    async def hold(self) -> None:
        """Hold a seat, and forget it."""
        await self._hold()

    async def _hold(self) -> KnownHold | None:
        """Hold a seat, mostly so shortly that it expires while others want it."""
        slot = self._pick_slot()
        if slot is None:
            return None
        seconds = self.chance.choice([1, 1, 2, 5])
        call = await self.do(
            Operation(
                "hold",
                "POST",
                f"/v1/slots/{slot.id}/holds",
                {"seconds": seconds},
                {"slot_id": slot.id, "seconds": seconds},
                self._key(),
            )
        )
        if call.outcome is not Outcome.DONE:
            return None
        held = KnownHold(call.answer["id"], slot.id)
        self.board.holds[held.id] = held
        return held

    async def hold_and_book(self) -> None:
        """Hold, talk a while (sometimes too long), then book with the hold."""
        held = await self._hold()
        if held is None:
            return
        await asyncio.sleep(self.chance.choice([0, 0.1, 0.3, 1.2]))
        self.board.holds.pop(held.id, None)
        await self._book(held.slot_id, held.id)

    async def book(self) -> None:
        """Book, sometimes with a hold that may be anybody's, or gone."""
        if self.board.holds and self.chance.random() < 0.15:
            held = self.chance.choice(list(self.board.holds.values()))
            await self._book(held.slot_id, held.id)
            return
        slot = self._pick_slot()
        if slot is not None:
            await self._book(slot.id, None)

    async def _book(self, slot_id: str, hold_id: str | None) -> None:
        case_id = new_id().hex
        asked: dict[str, Any] = {"slot_id": slot_id, "case_id": case_id}
        if hold_id is not None:
            asked["hold_id"] = hold_id
        if self.caller.role == "regulator" and self.chance.random() < 0.15:
            asked["overbook"] = True
        elif self.chance.random() < 0.02:
            asked["overbook"] = True  # a pharmacist must not: 403
        body = {**asked, "patient_file": self._patient()}
        call = await self.do(Operation("book", "POST", "/v1/bookings", body, asked, self._key()))
        if call.outcome is Outcome.DONE:
            slot = self.board.slots.get(slot_id)
            self.board.bookings[call.answer["id"]] = KnownBooking(
                call.answer["id"], slot_id, self.organization_id, slot.doctor if slot else ""
            )

    def _patient(self) -> dict[str, Any]:
        """Somebody new, or one of few who come again and again."""
        if self.chance.random() < 0.7:
            return patient()
        return patient(family_name=f"Habitué{self.chance.randrange(6)}")

    async def release(self) -> None:
        """Give a hold back: one just placed, or any, which may be somebody else's or gone."""
        held = await self._hold() if self.chance.random() < 0.5 else None
        if held is None and self.board.holds:
            held = self.chance.choice(list(self.board.holds.values()))
        if held is None:
            return
        call = await self.do(
            Operation(
                "release",
                "DELETE",
                f"/v1/holds/{held.id}",
                None,
                {"hold_id": held.id, "slot_id": held.slot_id},
            )
        )
        if call.outcome is Outcome.DONE:
            self.board.holds.pop(held.id, None)

    async def reschedule(self) -> None:
        """Move a booking to another slot, sometimes with a hold there."""
        booking = self._pick_booking()
        if booking is None:
            return
        if self.chance.random() < 0.25 and (held := await self._hold()):
            await self._move(booking, held.slot_id, held.id)
            return
        slot = self._pick_slot()
        if slot is not None:
            await self._move(booking, slot.id, None)

    async def swap(self) -> None:
        """Let two patients change places, both at once."""
        one, two = self._pick_booking(), self._pick_booking()
        if one is None or two is None or one.slot_id == two.slot_id:
            return
        await asyncio.gather(self._move(one, two.slot_id, None), self._move(two, one.slot_id, None))

    async def _move(self, booking: KnownBooking, slot_id: str, hold_id: str | None) -> None:
        asked = {"slot_id": slot_id} | ({"hold_id": hold_id} if hold_id else {})
        op = Operation(
            "reschedule",
            "POST",
            f"/v1/bookings/{booking.id}/rescheduling",
            asked,
            {**asked, "booking_id": booking.id},
            self._key(),
        )
        if self.chance.random() < 0.2:
            op.if_match = f'"{booking.version}"'
        call = await self.do(op)
        if call.outcome is Outcome.DONE:
            booking.slot_id, booking.version = slot_id, call.answer["version"]


class Doctor(Actor):
    """A doctor with an agenda."""

    def choices(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """Keep some slots open; change one's mind; report."""
        mine = [s for s in self.board.open_slots() if s.doctor == self.name]
        return [
            (self.publish, 12 if len(mine) < _OPEN_SLOTS else 0.5),
            (self.amend, 3),
            (self.withdraw, 1),
            (self.cancel, 1),
            (self.report, 4),
            (self.read, 3),
            (self.pause, 3),
        ]

    async def pause(self) -> None:
        """See a patient."""
        self.board.tidy()
        await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def publish(self) -> None:
        """Publish a slot: within seconds or later today, sometimes over another or in the past."""
        fate = self.chance.random()
        now = datetime.now(UTC)
        if fate < 0.7:
            starts = now + timedelta(seconds=self.chance.uniform(3, 9))
        elif fate < 0.95:
            starts = now.replace(minute=0, second=0, microsecond=0) + timedelta(
                hours=2, minutes=20 * self.chance.randrange(30)
            )
        else:
            starts = now - timedelta(seconds=5)
        ends = starts + timedelta(seconds=1 if fate < 0.7 else 1200)
        seats = {
            "capacity": self.chance.choice([1, 2, 2, 3]),
            "overbooking": self.chance.choice([0, 0, 1]),
        }
        body = self.caller.slot(
            starts,
            ends_at=ends.isoformat(),
            visibility=self.chance.choice([["SNP"], ["SNP", "PRO"], ["SNP", "PRO"]]),
            **seats,
        )
        call = await self.do(Operation("publish", "POST", "/v1/slots", body, seats, self._key()))
        if call.outcome is Outcome.DONE:
            self.board.slots[call.answer["id"]] = KnownSlot(
                call.answer["id"], self.name, starts, call.answer["version"]
            )

    def _own(self) -> KnownSlot | None:
        mine = [s for s in self.board.slots.values() if s.doctor == self.name]
        if self.chance.random() < 0.05:
            mine = list(self.board.slots.values())
        return self.chance.choice(mine or [None])

    def _match(self, slot: KnownSlot) -> str | None:
        fate = self.chance.random()
        if fate < 0.6:
            return "*"
        return f'"{slot.version}"' if fate < 0.95 else None

    async def amend(self) -> None:
        """Change seats, labels, the note or the time; with a version that may be old."""
        slot = self._own()
        if slot is None:
            return
        changes: dict[str, Any] = self.chance.choice(
            [
                {"capacity": self.chance.choice([1, 2, 3])},
                {"capacity": self.chance.choice([1, 2, 3]), "overbooking": 1},
                {"note": "Entrée par la cour"},
                {"visibility": ["SNP"]},
                {"visibility": ["SNP", "PRO"]},
                {"modes": ["AMB", "VR"]},
            ]
        )
        asked = {n: v for n, v in changes.items() if n in {"capacity", "overbooking"}}
        call = await self.do(
            Operation(
                "amend",
                "PATCH",
                f"/v1/slots/{slot.id}",
                changes,
                {**asked, "slot_id": slot.id},
                if_match=self._match(slot),
            )
        )
        if call.outcome is Outcome.DONE:
            slot.version = call.answer["version"]

    async def withdraw(self) -> None:
        """Take a slot back, mostly one where nobody seems to come."""
        taken = {booking.slot_id for booking in self.board.bookings.values()}
        free = [s for s in self.board.open_slots() if s.doctor == self.name and s.id not in taken]
        slot = self.chance.choice(free) if free else self._own()
        if slot is None:
            return
        call = await self.do(
            Operation(
                "withdraw",
                "DELETE",
                f"/v1/slots/{slot.id}",
                None,
                {"slot_id": slot.id},
                if_match=self._match(slot),
            )
        )
        if call.outcome is Outcome.DONE:
            slot.withdrawn = True

    async def read(self) -> None:
        """Look at a slot."""
        slot = self._own()
        if slot is not None:
            await self.do(
                Operation("read", "GET", f"/v1/slots/{slot.id}", None, {"slot_id": slot.id})
            )

    async def report(self) -> None:
        """Report an appointment: begun, not yet begun, or reported already."""
        begun = [
            b
            for b in self.board.bookings.values()
            if (slot := self.board.slots.get(b.slot_id)) and slot.started
        ]
        if self.chance.random() < 0.1:
            begun = list(self.board.bookings.values())
        if not begun:
            return
        booking = self.chance.choice(begun)
        state = self.chance.choice(["fulfilled", "noshow"])
        op = Operation(
            "report",
            "PUT",
            f"/v1/bookings/{booking.id}/report",
            {"state": state},
            {"booking_id": booking.id, "state": state},
        )
        if booking.reported and self.chance.random() < 0.7:
            op.if_match = "*"
        call = await self.do(op)
        if call.outcome is Outcome.DONE:
            booking.reported = True
