"""HTTP for the gateway for SMS: what people reply to it."""

import hmac
import re
from typing import Annotated
from unicodedata import normalize

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from service.directory import phone_number
from service.identity import TokenInvalid
from service.kernel.errors import ReadOnly
from service.kernel.http.deps import Uow
from service.kernel.http.rate import network
from service.kernel.settings import Settings
from service.messages import usecases

replies = APIRouter(include_in_schema=False)

# The first word says so, whatever people and gateways write around it.
_STOP = re.compile(r"\W*(?:STOP|ARR[EÊ]T)\b", re.IGNORECASE)


class Reply(BaseModel):
    """A reply as a gateway forwards it; what else it says is not read."""

    model_config = ConfigDict(extra="ignore")

    from_: Annotated[str, Field(alias="from", max_length=30)]
    text: Annotated[str, Field(max_length=2000)]


@replies.post("/v1/sms-replies", status_code=204)
async def take_reply(
    request: Request,
    uow: Uow,
    body: Reply,
    authorization: Annotated[str, Header()] = "",
) -> None:
    """Take a reply from the gateway, which has the token `SNP_SMS_TOKEN`: STOP opts out."""
    settings: Settings = request.app.state.settings
    wanted = settings.sms_token.get_secret_value() if settings.sms_token else ""
    given = authorization.removeprefix("Bearer ")
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        request.app.state.address_limit.spend((network(request.scope), ""), request.scope)
        raise TokenInvalid
    if settings.read_only:
        raise ReadOnly
    number = phone_number(body.from_)
    if number is not None and _STOP.match(normalize("NFC", body.text)):
        await usecases.stop(uow, number)
