"""How much a worker that gives turns holds in memory."""

from infra.kafka.room import POLLED, Limits

_MIB = 1024 * 1024
HELD = Limits(records=4_000, bytes=32 * _MIB)
"""What waits in memory, of all partitions; one busy partition may hold half. All of it stands in the fair queue, so
that no workspace hides behind another's; what lies beyond waits on the log in order of arrival. With five passages a
prompt has 17 kB on the log and takes 96 kB here, its record included (measured): 32 MiB of records are about 180 MiB,
and twice that the most that the partitions can come to together."""
TAKEN_UP = HELD.records // 2 + HELD.records // POLLED
"""What a partition ever holds: half of the room, and one more poll."""
