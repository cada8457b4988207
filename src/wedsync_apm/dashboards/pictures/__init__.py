"""Dashboards as pictures: PDF with text that can be selected, and PNG of the same drawing."""
