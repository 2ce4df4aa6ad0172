"""How long the delivery runtime waits, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `session_s` is how long a dead worker keeps its partitions; the rest follows from it."""

    commit_every_s: float = 0.2
    """Each commit is a round trip; what a crash leaves uncommitted is handled again, and sinks take it once."""
    poll_s: float = 0.5
    full_poll_s: float = 0.01
    """While partitions are full: how long a record of another one may wait for the next look."""
    session_s: float = 10.0
    heartbeat_s: float = 1.0
    rebalance_s: float = 30.0
    revoke_grace_s: float = 10.0
    stop_grace_s: float = 14.0
    """A stop is over within 30 s: this, a commit under way and a last one, leaving the group, flushing what is sent."""
    commit_within_s: float = 3.0
    """aiokafka tries a commit for as long as the broker is away: beyond this it counts as refused."""
    leave_within_s: float = 3.0
    stalled_after_s: float = 30.0
    stuck_after_s: float = 120.0
    """Longer than any handler may take for one batch: above it a restart helps more than waiting."""

    @classmethod
    def of(cls, session_s: float, stuck_after_s: float) -> "Timing":
        """Return the timing of a session, three heartbeats of which at least may be lost."""
        return cls(session_s=session_s, heartbeat_s=min(1.0, session_s / 4), stuck_after_s=stuck_after_s)
