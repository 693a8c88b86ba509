"""Where bodies run: in threads of the runner, in worker processes, on a cluster."""
