from autograder.catalogue import alternative
