"""WHERE IT RESTS: the view, one value per task, disposable, on Redis or in memory."""
