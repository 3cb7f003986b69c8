"""WHERE IT FLOWS: an ordered, replayable log of records, on Kafka or in memory."""
