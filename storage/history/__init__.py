"""Time: earlier states of a database, what changed between them, undo, tags, and packing that respects both.

What each module knows: `moments` how a time is written, `states` which states a database has, `opening` how one is
opened, `transactions` what was committed and how it is taken back, `versions` and `changes` the past of one array,
`tags` names for states, `freezing` copies that share their bytes, `packing` what is held back and why, `snapshots` who
looks at which state, `tables` how lists show, `command` the command line.
"""
