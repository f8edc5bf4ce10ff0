"""Every SQL statement of the room: `regulators`, and what SAS is told of their `appointments`."""
