"""Benchmarks against the tools that a user would otherwise choose."""
