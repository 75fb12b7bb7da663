"""The report: one record, rendered as text, Markdown, HTML, JUnit and a badge."""

from .conformance_report import SCHEMA, ConformanceReport

__all__ = ["SCHEMA", "ConformanceReport"]
