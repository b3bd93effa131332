"""Verification problems: known answers, and how near organtwin comes to them."""
