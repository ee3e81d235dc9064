"""What runs on the board: the daemon, its workers and the board's store. Standard library, numpy, psutil and one
TFLite runtime."""
