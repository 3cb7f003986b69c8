"""How much of an exception travels, and how much of a record is looked at. Only numbers and their reasons."""

from __future__ import annotations

from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer keeps of one exception. A reader looks at twice as many of everything, so that writers may grow."""

    #: Exceptions of one record: the chain and the members of groups. Fewer would cut real task groups; more would let
    #: one failure outweigh a thousand results, and nobody reads the hundredth cause.
    chain: int = 128
    #: Direct members of one group: a hundred workers that failed alike are told by the first ones.
    children: int = 64
    #: Frames of one exception. A runaway recursion has a thousand, all alike: the first and the last hundred tell it.
    frames: int = 200
    #: Arguments, and builtin fields, of one exception. A well-meant exception has a handful; beyond, it carries a data
    #: set.
    arguments: int = 64
    #: Attributes of one exception; the same reason.
    attributes: int = 64
    #: Notes of one exception: enough for one per retry, too few for a loop that adds one per row.
    notes: int = 64
    #: Characters of a message or a note. Smaller would cut compiler and database errors, larger is an attachment.
    message: int = 16_384
    #: Bytes of one encoded argument, attribute or field; a larger one is replaced by its shortened repr.
    value: int = 65_536
    #: Characters of the formatted traceback. Smaller would cut long chains, larger would not fit into a record with a
    #: payload; both ends are kept, since Python prints the exception itself last.
    traceback: int = 65_536
    #: Characters of a module, class or attribute name. Smaller would refuse generated code's names, larger would let a
    #: record fill logs and metrics with one. Readers take as many as writers: a longer one is no name.
    name: int = 256
    #: Bytes of all of it together, without the formatted traceback. Larger would not fit beside a traceback and a
    #: payload into the one megabyte that a topic takes by default: then the failure could not be published at all.
    total: int = 393_216


LIMITS: Final = Limits()
