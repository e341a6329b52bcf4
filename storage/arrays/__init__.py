"""Persistent out-of-core arrays: address ranges → segments → block map → `ZBigArray`."""
