"""A report of runs as one HTML file, for browsers, phones, mail and paper."""

from edgesparse.report.html.page import labels_of, render, write_report

__all__ = ["labels_of", "render", "write_report"]
