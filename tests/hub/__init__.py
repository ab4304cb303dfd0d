"""Commands against a hub that the tests serve on this machine."""
