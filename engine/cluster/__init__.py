"""A sweep on more than one machine, by Ray Core: experts, networks of the teacher and cells are tasks.

A task is a function of settings into files: of the cache, or of a cell's run folder. These files stay the truth, so a
task may be done twice, on any node, and a sweep may go on without a cluster.
"""
