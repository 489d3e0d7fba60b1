"""Grading a class with stock nbgrader: what `nbgrader_config.py` plugs into `nbgrader autograde`.

converter   `nbgrader autograde` for submissions in any state
door        which folders are submissions, and under which names they can be graded
pictures    a photo in a written answer -> an attachment
intake      whatever was handed in -> a plain notebook, or a sentence why it cannot be read
rebuild     the release with the student's answers in it: the only thing that is ever run
demos       what of long demonstrations is run: what is cheap and used
execute     run it; the kernel emits evidence
runner      one notebook in one kernel, under limits
sandbox/    what a kernel may see and do
forkserver  one warm process, whose forks are the kernels; each enters its sandbox first
provisioner kernels from there, for jupyter_client
kernel      inside the kernel: what checks stand on is kept, and given back
harmless    outputs and texts of students as something a browser may show
verdict     evidence -> report and points
rejudge     the same again from the executed notebooks, running nothing
export      `nbgrader export`, with names quoted
classreport/ what the class did and did not understand, as a page, and its scores for an LMS
states      graded, or whose error it is
madeup      a class whose grades are known (`make demo`)
"""
