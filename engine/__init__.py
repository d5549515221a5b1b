"""mailvolley: a high-throughput batch campaign sender."""
