"""What the endpoints do, one file a kind of resource. Each function runs in its request's thread and transaction."""
