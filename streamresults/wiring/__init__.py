"""
Settings to real objects: the only place that names implementations, and the only one that opens client libraries.

Each library is imported when its door is first opened, so that importing streamresults costs none of them.
"""

from streamresults.wiring.flows import Wiring
from streamresults.wiring.opening import open_async_client, open_async_publisher, open_client, open_publisher

__all__ = ["Wiring", "open_async_client", "open_async_publisher", "open_client", "open_publisher"]
