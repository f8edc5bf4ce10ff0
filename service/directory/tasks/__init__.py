"""Long work of the directory: imports of the national extract, and of a CSV of structures.

`national` and `structures` are the two imports, `command` what the command line calls. Both compare
what a file says with what the directory holds, write what differs, and deactivate what the same
source no longer names; what was made by hand is never touched (docs/adr/0010).
"""
