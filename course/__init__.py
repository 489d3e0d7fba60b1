"""The toolkit that the notebooks import: data, models, device, plots, widgets. What is taught stands in the chapters."""
