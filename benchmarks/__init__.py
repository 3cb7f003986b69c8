"""Measures streamresults beside bare client libraries, on real Kafka and real Redis; asserts nothing."""
