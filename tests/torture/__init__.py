"""Killing processes and cutting the power, and what must be there afterwards."""
