"""What other tools write and read: Flight Recorder pickles, NCCL Inspector and RAS, DCGM names, what-if traces."""
