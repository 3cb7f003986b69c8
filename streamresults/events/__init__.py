"""WHAT TRAVELS: a result event as a value, its fold, its payload, its exception, and its bytes."""
