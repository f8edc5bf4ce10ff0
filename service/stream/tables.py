"""How far each reader of the stream has come."""

from sqlalchemy import BigInteger, Column, Table, Text, text

from service.kernel.tables import Instant, metadata

stream_cursors = Table(
    "stream_cursors",
    metadata,
    # `positions` has given numbers to all transactions below `reached`; every other consumer has
    # done with all facts up to the position `reached`.
    Column("consumer", Text, primary_key=True),
    Column("reached", BigInteger, nullable=False),
    Column("moved_at", Instant, nullable=False, server_default=text("snp_now()")),
)
