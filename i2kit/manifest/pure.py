"""PyYAML's parser without libyaml, for machines where PyYAML was built without it."""

from __future__ import annotations

from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner


class PureParser(Reader, Scanner, Parser, Composer):
    """The pieces that compose nodes, in the interface of ``yaml.cyaml.CParser``; tags are left to the subclass."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
