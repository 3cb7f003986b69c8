"""PUBLISH: what becomes of tasks is written to the log and acknowledged by the brokers."""

from streamresults.publisher.outcomes import Flushed
from streamresults.publisher.pending import Pending
from streamresults.publisher.publisher import Publisher, PublisherOptions
from streamresults.publisher.task_run import TaskRun

__all__ = ["Flushed", "Pending", "Publisher", "PublisherOptions", "TaskRun"]
