"""Pictures by matplotlib, of what benchmarks and studies measure."""
