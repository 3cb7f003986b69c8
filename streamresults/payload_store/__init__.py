"""WHERE LARGE PAYLOADS REST: outside of the log, which then carries a reference to them."""
