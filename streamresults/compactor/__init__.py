"""COMPACT: folds the topic into the view. Many may run; none needs another, and none can do harm."""

from streamresults.compactor.compactor import Compactor
from streamresults.compactor.options import CompactorOptions

__all__ = ["Compactor", "CompactorOptions"]
