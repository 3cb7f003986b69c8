"""AWAIT: the faces of client and publisher for event loops. They wait and publish by the same engine and connection."""

from streamresults.aio.client import AsyncClient
from streamresults.aio.handle import AsyncResultHandle
from streamresults.aio.pending import AsyncPending
from streamresults.aio.publisher import AsyncPublisher
from streamresults.aio.sets import AsyncResultGroup, AsyncResultSet
from streamresults.aio.task_run import AsyncTaskRun

__all__ = [
    "AsyncClient",
    "AsyncPending",
    "AsyncPublisher",
    "AsyncResultGroup",
    "AsyncResultHandle",
    "AsyncResultSet",
    "AsyncTaskRun",
]
