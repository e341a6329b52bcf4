"""Streams: bytes in the order in which they came.

What each module knows: `stream` the persistent bytes and what may go, `reader` a stream as a file, `follow` what others
append meanwhile.
"""
