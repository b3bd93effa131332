"""Groups of the indices of implants in bones."""

#: Groups, in the order of a report.
GROUPS = ("place", "micromotion", "gap", "shielding", "bone", "implant", "screw", "joint")
