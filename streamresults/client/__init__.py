"""WAIT: blocks on the topic itself or on the view, looks results up, and forgets them."""

from streamresults.client.attempts import Attempt
from streamresults.client.callbacks import Registration
from streamresults.client.client import Client
from streamresults.client.connected import Services
from streamresults.client.counting import Counts
from streamresults.client.handle import ResultHandle
from streamresults.client.options import ClientOptions, Via, WaitOptions
from streamresults.client.provenance import Basis
from streamresults.client.result import Result
from streamresults.client.result_group import ResultGroup
from streamresults.client.result_set import ResultSet
from streamresults.client.tree import Graph

__all__ = [
    "Attempt",
    "Basis",
    "Client",
    "ClientOptions",
    "Counts",
    "Graph",
    "Registration",
    "Result",
    "ResultGroup",
    "ResultHandle",
    "ResultSet",
    "Services",
    "Via",
    "WaitOptions",
]
