"""Estimates the power of the Otterbrook wheel from the flow of the millrace."""

GRAVITY = 9.81
"""Metres per second squared."""
WATER = 1_000.0
"""Kilograms per cubic metre."""
BREASTSHOT_EFFICIENCY = 0.65
"""Share of the water's power that reaches the shaft of a breastshot wheel, as measured in the spring of 2023."""


def shaft_power(flow: float, head: float = 2.1) -> float:
    """Return the power at the shaft in watts for `flow` in cubic metres per second falling by `head` metres."""
    return WATER * GRAVITY * flow * head * BREASTSHOT_EFFICIENCY


def pairs_of_stones(flow: float) -> int:
    """Return how many pairs of stones the wheel can drive: one needs 3.5 kilowatts."""
    return min(2, int(shaft_power(flow) // 3_500))
