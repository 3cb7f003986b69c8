"""The wire contract as files, shipped as ``streamresults.schemas``; README.md says how it may change."""
