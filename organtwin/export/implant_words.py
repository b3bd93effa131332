"""Words for the indices of an implant in a bone."""

from __future__ import annotations

from organtwin.export.index_words import Wording

#: Groups in words, with what they ask.
_HEADINGS = {
    "place": "Place: is the joint where it was",
    "micromotion": "Micromotion: does bone grow in",
    "gap": "Fracture gap: does it heal",
    "shielding": "Stress shielding: what the bone loses",
    "bone": "Bone: does it yield",
    "implant": "Implant: does it hold",
    "screw": "Screws: are they pulled out",
    "joint": "Joint: does its surface stay",
}
_ENDINGS = {
    "_999": ", 99.9 %", "_95": ", 95 %", "_99": ", 99 %", "_50": ", median", "_max": ", largest",
    "_mean": ", mean",
}  # fmt: skip


def in_words(key: str) -> str:
    """Name of an index: ``walking_micromotion_95`` → "Walking micromotion, 95 %"."""
    for end, words in _ENDINGS.items():
        if key.endswith(end):
            return key.removesuffix(end).replace("_", " ").capitalize() + words
    return key.replace("_", " ").capitalize()


WORDING = Wording(_HEADINGS, in_words)
