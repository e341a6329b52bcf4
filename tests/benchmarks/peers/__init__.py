"""The stores that `bench_storage` measures side by side: one file a store, behind one small contract."""

from __future__ import annotations

#: Key on the command line (`BENCH_PEERS`) → where its class is. The order is the order of the tables.
PEERS = {
    "local": "tests.benchmarks.peers.ours:Served",
    "file": "tests.benchmarks.peers.ours:InProcess",
    "memmap": "tests.benchmarks.peers.memmap:Memmap",
    "h5py": "tests.benchmarks.peers.hdf5:Hdf5",
    "zarr": "tests.benchmarks.peers.zarr3:Zarr",
    "icechunk": "tests.benchmarks.peers.icechunks:Icechunk",
    "tensorstore": "tests.benchmarks.peers.tensorstores:TensorStore",
    "core": "tests.benchmarks.peers.core:Core",
    "bare": "tests.benchmarks.peers.bare:Bare",
}

#: What a peer's row says when it cannot be imported; bench.lock holds the first four.
TITLES = {
    "local": "Wendelin, `local://`",
    "file": "Wendelin, `file://`",
    "memmap": "np.memmap",
    "h5py": "h5py",
    "zarr": "zarr 3",
    "icechunk": "icechunk",
    "tensorstore": "tensorstore",
    "core": "wendelin.core 0.13",
    "bare": "bare machine",
}

#: Those with transactions, beside ours: the goals compare with the fastest of them.
TRANSACTIONAL = ("icechunk", "core")
