"""What one looks at: problems, training runs, diagnosis, figures and reports. Needs the ``lab`` extra."""
