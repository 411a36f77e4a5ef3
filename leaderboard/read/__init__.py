"""First: records and what stands beside them become boards."""
