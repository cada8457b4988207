"""The demo: eight businesses that do not exist, and the traffic that their websites would make.

Everything that is simulated says so: series carry the tag `simulated=true`, weddings the source
`simulated`, and the people's addresses end in `.example`.
"""
