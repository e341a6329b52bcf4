"""What persists: databases, arrays, folders. Imports neither Jupyter nor Dask."""
