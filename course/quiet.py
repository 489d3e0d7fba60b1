"""What libraries have to say about themselves, and a reader need not hear."""

import logging
import warnings


def hush_libraries() -> None:
    """No logs of transformers below an error, no bars over each data set, no notices of names that will change one day.

    The notices are meant for those who maintain trl and peft, whose calls bring them about.
    """
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\b")
