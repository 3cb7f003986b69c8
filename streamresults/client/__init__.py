"""WAIT: blocks on the topic itself or on the view, looks results up, and forgets them."""

from streamresults.client.callbacks import Registration
from streamresults.client.client import Client, ClientOptions
from streamresults.client.result import Basis, Result

__all__ = ["Basis", "Client", "ClientOptions", "Registration", "Result"]
