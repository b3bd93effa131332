"""Orthopaedic implants: stems, plates and screws as closed, named surfaces with frames."""
