"""What works for many containers: the queue, and the worker that takes from it."""
