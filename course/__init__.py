"""The toolkit that the notebooks import: data, models, device, plots, widgets. What a chapter teaches is in the chapter."""
