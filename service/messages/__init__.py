"""Messages: what doctors and patients are told by e-mail and SMS, and the report in one click.

A consumer of the stream writes a message for each recipient of a fact, `tasks` sends it, made of
what is known then. Messages to doctors say nothing of who comes; a patient's address is read when
it is written to, traced, and kept nowhere. Events: practitioner.contact_set,
patient_file.opted_out, patient_file.opted_in.
"""

from service.messages.usecases import consume, measures, retry, sending

__all__ = ["consume", "measures", "retry", "sending"]
