"""Webhooks: endpoints, what each is told of the stream, signed, and tried again for three days.

An endpoint hears what `stream.views` tells whoever answers for it, by their right as it is now.
Facts become deliveries in the transaction that moves the stream's cursor; jobs send what is due,
per endpoint, in the order of facts for each subject. Sent twice at worst, lost never: a delivery's
id is its `webhook-id`. Events: webhook_endpoint.created, .amended, .secret_rotated, .deleted,
.disabled.
"""

from service.webhooks.usecases import fan_out, health, measures, sweep

__all__ = ["fan_out", "health", "measures", "sweep"]
