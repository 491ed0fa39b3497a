"""Measurements of the engine against both fakes; figures for people, not tests."""
