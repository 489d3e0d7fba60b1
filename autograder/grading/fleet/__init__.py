"""A whole class at once: what stands behind `autograder grade`.

steps      one submission's way to a grade in three pieces: begin and record (here, one at a time), examine (anywhere)
local      processes of this machine that examine
cluster    machines of a dask cluster that run the notebooks
classrun   the class: what is to do, what came, what is tried again; the one writer to the gradebook
grade      the command
"""
