"""What needs a library of its own (an extra); nothing else in ptsflow imports it."""
