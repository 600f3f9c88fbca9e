"""Answers over HTTP from an exported model, without torch."""
