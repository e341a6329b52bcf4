"""Integrity: finding what a disk has changed, and backups.

What each module knows: `damage` how a finding is told, `datafile` a Data.fs byte by byte, `sources` the kinds of
databases, `blobs` files of blobs, `owners` whose bytes some record or blob holds, `verify` how a database is gone
through, `backup` and `restore` copies of a database, `command` the command line.
"""
