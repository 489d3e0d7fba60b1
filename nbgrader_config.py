"""How stock nbgrader grades this course. Run its commands from this folder:

    autograder prepare 01_pretraining               once: the chapter is made known to nbgrader
    nbgrader autograde 01_pretraining               reads classroom/submitted/STUDENT/01_pretraining/
    nbgrader generate_feedback 01_pretraining
    nbgrader export

What a class produces lives in `classroom/`, or where the environment variable COURSE_CLASSROOM points.
"""

import os
import sys
import warnings
from pathlib import Path

from sqlalchemy.exc import SAWarning

from autograder.evidence import STUB
from autograder.grading import converter

ROOT = Path(__file__).resolve().parent
CLASSROOM = Path(os.environ.get("COURSE_CLASSROOM") or ROOT / "classroom").resolve()

# nbgrader calls `alembic` by name: it lies beside this Python, also where the environment is not activated.
path, beside = os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)
if path.split(os.pathsep)[0] != beside:  # a formgrader reads this file again and again
    os.environ["PATH"] = os.pathsep.join([beside, path])

# nbgrader 0.9 with SQLAlchemy 2: three harmless warnings for each submission would bury what matters.
warnings.filterwarnings("ignore", category=SAWarning, module="nbgrader")

c = get_config()  # noqa: F821 - nbgrader puts it here

c.CourseDirectory.course_id = "training-language-models"
c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "course"
c.CourseDirectory.submitted_directory = str(CLASSROOM / "submitted")
c.CourseDirectory.autograded_directory = str(CLASSROOM / "autograded")
c.CourseDirectory.feedback_directory = str(CLASSROOM / "feedback")
c.CourseDirectory.solution_directory = str(CLASSROOM / "solution")
c.CourseDirectory.db_url = f"sqlite:///{CLASSROOM / 'gradebook.db'}"
CLASSROOM.mkdir(parents=True, exist_ok=True)

# Nothing but the notebook leaves a chapter's folder: solutions, mistakes and alternatives lie beside it.
c.CourseDirectory.ignore = ["*.py", "*.pyc", "__pycache__", ".ipynb_checkpoints", "*.tmp", "*.json", "*.md"]

# What an LMS delivers, in classroom/downloaded/CHAPTER/archive/, for `nbgrader zip_collect`. nbgrader formats this path.
DOWNLOADED = str(CLASSROOM / "downloaded").replace("{", "{{").replace("}", "}}")
c.ZipCollectApp.collect_directory_structure = os.path.join(DOWNLOADED, "{assignment_id}", "{collect_step}")

c.ExportApp.plugin_class = "autograder.grading.export.CsvExport"  # names with commas stay in their column
c.ExportPlugin.to = str(CLASSROOM / "grades.csv")

c.ClearSolutions.code_stub = {"python": f'raise NotImplementedError("{STUB}")'}
c.ClearSolutions.text_stub = f"*{STUB}*"

converter.install()  # submissions in any state: see autograder/grading/converter.py

# What kernels may read beside Python, its packages and the public course: c.Execute.visible = ["/path", ...]

# Ours stand in place of nbgrader's Execute (its kernels are sandboxed) and SaveAutoGrades. nbgrader's IgnorePattern and
# ClearMetadataPreprocessor are left out: no message on stderr costs a point here, and a re-judge reads the metadata.
c.Autograde.sanitize_preprocessors = [
    "autograder.grading.rebuild.Rebuild",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "autograder.grading.execute.Execute",
    "autograder.grading.harmless.Harmless",
    "autograder.grading.verdict.Judge",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.grading.verdict.SaveGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
