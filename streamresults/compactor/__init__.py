"""COMPACT: folds the topic into the view. Many may run; none needs another, and none can do harm."""

from streamresults.compactor.compactor import Compactor, CompactorOptions

__all__ = ["Compactor", "CompactorOptions"]
