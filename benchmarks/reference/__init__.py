"""What the figures are compared with: bare client libraries. Imports nothing of streamresults."""
