"""The forms in which a finished run is handed on."""
