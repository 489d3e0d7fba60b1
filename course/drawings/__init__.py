"""The drawings of the chapters, one module a chapter: functions that draw a chapter's own tensors with `course.drawing`."""
