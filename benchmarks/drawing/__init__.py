"""Matplotlib figures of the results of benchmarks and studies."""
