"""What works on activities: engines, which run calls in other processes, and the dispatcher, which gives them to one.

| module | what it knows |
|---|---|
| `engine` | the contract of engines |
| `local` | worker processes of this machine |
| `workers`, `worker_process`, `wire` | one of them, seen by its owner and by itself; what goes between |
| `cluster`, `link` | `dask.distributed`; the connection to its scheduler |
| `dispatcher`, `node`, `embedded`, `work` | who is elected and what is started, where it runs |
"""
