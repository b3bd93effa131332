"""Rehearsal of transcatheter aortic valve replacement on a patient's root."""
