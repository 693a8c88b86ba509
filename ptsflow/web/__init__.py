"""The page: what is going on in a store, in a browser. Needs the extra `ui`."""
