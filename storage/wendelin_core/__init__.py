"""Databases that the original wendelin.core wrote: read without it, and copied into a database of ours."""
