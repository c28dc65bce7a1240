"""Serve superfine as a page in the browser and as an HTTP API. Needs the extra `superfine[web]`."""
