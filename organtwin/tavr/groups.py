"""Groups of the indices of deployed valves."""

#: Groups, in the order of a report.
GROUPS = (
    "frame", "position", "anchoring", "contact", "wall", "leak", "coronary", "flow", "fatigue",
)  # fmt: skip
