"""PUBLISH: what becomes of tasks is written to the log and acknowledged by the brokers."""

from streamresults.publisher.options import PublisherOptions
from streamresults.publisher.outcomes import Flushed
from streamresults.publisher.pending import Pending
from streamresults.publisher.publisher import Publisher
from streamresults.publisher.recording import Recorder
from streamresults.publisher.retrying import RetryOptions, exception_safe_to_retry
from streamresults.publisher.task_run import TaskRun, current_run

__all__ = [
    "Flushed",
    "Pending",
    "Publisher",
    "PublisherOptions",
    "Recorder",
    "RetryOptions",
    "TaskRun",
    "current_run",
    "exception_safe_to_retry",
]
