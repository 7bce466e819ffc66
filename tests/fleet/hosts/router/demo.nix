{ mode = "ok"; text = "first"; }
