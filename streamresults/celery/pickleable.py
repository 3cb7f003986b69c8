"""
Which exception a task really raised. Celery hands its backends one that can be pickled, which may be a wrapper or an
instance of a base class; the log loses nothing, so it takes the one that was raised, where that is still at hand.
"""

from __future__ import annotations

import sys

from celery.utils.serialization import UnpickleableExceptionWrapper


def what_was_raised(exc: BaseException) -> BaseException:
    """Return the exception that is being handled, if ``exc`` stands for it; else ``exc``."""
    raised = sys.exc_info()[1]
    if raised is None or raised is exc:
        return exc
    if isinstance(exc, UnpickleableExceptionWrapper):
        named = (exc.exc_module, exc.exc_cls_name)
        return raised if named == (type(raised).__module__, type(raised).__name__) else exc
    # Celery makes an instance of the nearest base that can be pickled, of the same arguments.
    is_base = type(raised) is not type(exc) and isinstance(raised, type(exc))
    return raised if is_base and raised.args == exc.args else exc
