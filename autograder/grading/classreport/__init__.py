"""What an instructor wants to know of a class: `autograder report 01_pretraining`.

gather   autograded notebooks and gradebook -> plain data
count    that data -> what is shown: scores, exercises, mistakes, who needs a look
alike    answers that are nearly identical
page     all of it as one page of HTML (page.css: how it looks)
text     the mistakes as text
table    the scores as CSV, for an LMS
command  the command
"""
