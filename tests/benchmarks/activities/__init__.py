"""What `bench_activities` measures: our own sites, what is killed in them, and other queues."""
