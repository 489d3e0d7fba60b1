# %% [markdown]
# # Start here
#
# Five minutes, so that you know how the notebooks work before they get hard: cells, checks, hints, progress, and how
# your answers reach an instructor if you have one. You need Python and curiosity, and no GPU.

# %% [markdown]
# ## Cells
#
# A notebook is a column of cells. Click into the grey cell below and press **Shift + Enter**: it runs, and the next
# cell is selected. Run the cells from top to bottom. If something looks odd, *Kernel → Restart Kernel and Run All Cells*
# starts over with a clean slate.

# %% tags=["imports"]
import torch

from autograder import check, progress
from course.device import describe_machine

# %%
torch.manual_seed(0)  # every notebook sets a seed before anything random, so your numbers repeat
losses = torch.rand(6)  # (6,)
print(losses)

# %% [markdown]
# ## What this machine can do
#
# Everything in the course runs on a laptop without a GPU, in minutes. The same cells take larger doses where there is
# a GPU. The *tier* is detected for you; set the environment variable `COURSE_TIER` to `cpu` or `gpu` to choose it yourself.

# %%
print(describe_machine())

# %% [markdown]
# ## Your first exercise
#
# An exercise is a function for you to write. A training run measures a loss on every token, and what you plot is their
# mean. Write it: `mean_loss(losses)` takes a tensor of any shape and returns the mean of all its elements.
#
# **Answer wrongly first.** Replace the line that raises `NotImplementedError` with `return losses.sum()`, run the cell,
# and run the check under it. You will see what a wrong answer looks like here: which cases fail, what was expected,
# what came, and, when the mistake is a known one, what you probably did. Then mend it.

# %% nbgrader={"grade": false, "grade_id": "mean_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mean_loss(losses: torch.Tensor) -> torch.Tensor:
    """The mean of all elements of `losses`, a float tensor of any shape."""
    ### BEGIN SOLUTION
    return losses.mean()
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "mean_loss_check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("mean_loss", mean_loss)

# %% [markdown]
# <details><summary><b>Hint 1</b>: what does the shape do?</summary>
#
# `losses.sum()` adds up every element, whatever the shape. The mean divides by how many there are.
# </details>
# <details><summary><b>Hint 2</b>: the function you want</summary>
#
# Tensors have a method for it: `losses.mean()`. Without an axis it averages over all elements.
# </details>
#
# Exercises come with hints like these. Open one at a time, and only after you have tried.

# %% [markdown]
# ## What a check does
#
# `check` calls your function on inputs that it makes from a few fixed seeds and compares what comes back with what the
# reference solution returned on the same inputs. The reference itself is not on your machine, only its outputs. Your
# function may be written in any way you like: loops, one line, a library call. Only what it returns counts, and that
# it leaves its arguments as they were: whoever calls it may need them again.
#
# If you work in an editor rather than in a notebook, put your functions into a file and run
# `autograder check 00_start_here my_answers.py`.

# %% [markdown]
# ## Progress
#
# The course remembers, in one small file in your home folder, which exercises you have passed. This shows it:

# %%
progress()

# %% [markdown]
# ## If you are in a class
#
# Save the notebook and hand in the `.ipynb` file, as your instructor asks. Change only the answer cells; add cells of
# your own wherever you like. Grading runs your functions on fresh seeds, gives points for every case that passes, and
# sends back a report like the ones you see here. Cells that train for minutes are not run again in grading.
#
# Now open [01_pretraining](../01_pretraining/01_pretraining.ipynb), where you train a language model.
