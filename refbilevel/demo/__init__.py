"""`refbilevel demo`: a real hyperparameter problem solved to stationarity, three implementations judged, one report."""
