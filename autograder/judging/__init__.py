"""What decides and says why: the judge, its rules, its sentences, its answer keys, and the reference behind them."""
