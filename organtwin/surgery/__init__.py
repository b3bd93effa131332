"""Virtual surgery on bones: cuts, reaming, fractures, reduction, placing of devices, their fit."""
