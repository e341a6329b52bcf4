"""Activities at rest: messages that transactions leave for workers, and what a worker does with them."""
