"""Engines behind one narrow interface, each used as its own documentation recommends."""

from .contender import Contender, Get, Page, Read, Row, Setup, Write
from .field import field_of

__all__ = ["Contender", "Get", "Page", "Read", "Row", "Setup", "Write", "field_of"]
