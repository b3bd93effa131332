"""How far measured values of a synthetic root are off."""


def worst(root, measures):
    """Errors against the truth: area (%), diameters (mm), coronary heights (mm), the largest."""
    truth = root.truth()
    off = {name: found.value - truth[name] for name, found in measures.quantities.items()
           if name in truth}  # fmt: skip
    missing = set(truth) - set(off)
    assert not missing, f"not measured: {sorted(missing)}"
    diameters = {name: e for name, e in off.items() if "diameter" in name}
    heights = {name: e for name, e in off.items() if name.startswith("coronary_height")}
    area = 100.0 * off["annulus_area"] / truth["annulus_area"]
    diameter, height = (max(some.items(), key=lambda item: abs(item[1]))
                        for some in (diameters, heights))  # fmt: skip
    return area, diameter, height
