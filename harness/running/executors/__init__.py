"""Where trials run: anything with the shape of concurrent.futures.Executor."""
